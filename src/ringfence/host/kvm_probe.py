"""Whether /dev/kvm runs anything, found by running something: one HLT at the reset vector.

A device node that opens proves nothing: in nested or filtered environments the guest never gets to its
first instruction. Numbers are from linux/kvm.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import struct

_CREATE_VM, _CREATE_VCPU, _RUN = 0xAE01, 0xAE41, 0xAE80
_VCPU_MMAP_SIZE, _SET_USER_MEMORY_REGION = 0xAE04, 0x4020AE46
_SET_TSS_ADDR = 0xAE47
#: Three pages that Intel's processors without "unrestricted guest" need; anywhere below 4 GiB.
_TSS_ADDRESS = 0x7FFB_D000
_EXIT_HLT = 5
_EXIT_REASON = 8
#: The page with the reset vector, below 4 GiB.
_RESET_PAGE = 0xFFFF_F000
_RESET_OFFSET = 0xFF0
_HLT = b"\xf4"
SECONDS = 5


def probe() -> str:
    """ "" where KVM works, else what is wrong."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    read, write = os.pipe()
    child = os.fork()  # what a broken KVM does to a process must not happen to this one
    if child == 0:
        os.close(read)
        signal.alarm(SECONDS)
        try:
            answer = _run(fd)
        except Exception as error:
            answer = f"/dev/kvm opens, but does not work: {error}"
        finally:
            os.write(write, (answer or "works").encode())
            os._exit(0)
    os.close(write)
    os.close(fd)
    with open(read, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return "" if answer == "works" else answer or "/dev/kvm opens, but runs nothing"


def _run(fd: int) -> str:
    vm = fcntl.ioctl(fd, _CREATE_VM, 0)
    page = mmap.mmap(-1, mmap.PAGESIZE)
    page[_RESET_OFFSET : _RESET_OFFSET + 1] = _HLT
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    fcntl.ioctl(vm, _SET_TSS_ADDR, _TSS_ADDRESS)
    region = struct.pack("IIQQQ", 0, 0, _RESET_PAGE, mmap.PAGESIZE, address)
    fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, region)
    vcpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    with mmap.mmap(vcpu, fcntl.ioctl(fd, _VCPU_MMAP_SIZE, 0)) as shared:
        fcntl.ioctl(vcpu, _RUN, 0)
        (reason,) = struct.unpack_from("I", shared, _EXIT_REASON)
    return "" if reason == _EXIT_HLT else f"/dev/kvm opens, but a guest ends with exit reason {reason}"
