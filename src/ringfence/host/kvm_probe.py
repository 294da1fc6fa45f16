"""Whether /dev/kvm runs a guest at the host's speed, found by running one: a loop in long mode.

A device node that opens proves nothing. In nested and filtered environments the guest never gets to its first
instruction, or each of its instructions is emulated, so that no kernel comes to an end. Numbers and layouts
are those of linux/kvm.h for x86.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import struct
import time

_CREATE_VM, _CREATE_VCPU, _RUN, _VCPU_MMAP_SIZE, _SET_TSS_ADDR = 0xAE01, 0xAE41, 0xAE80, 0xAE04, 0xAE47
_SET_USER_MEMORY_REGION, _SET_REGS, _GET_SREGS, _SET_SREGS = 0x4020AE46, 0x4090AE82, 0x8138AE83, 0x4138AE84
_EXIT_HLT = 5
_EXIT_REASON_OFFSET = 8
#: Three pages that Intel's processors without "unrestricted guest" need; anywhere below 4 GiB.
_TSS_ADDRESS = 0x7FFB_D000

#: Where page tables and code are in the guest's few pages.
_PML4, _PDPT, _PD, _CODE, _MEMORY_BYTES = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
_ENTRY, _LARGE = 0x003, 0x083
LOOPS = 100_000
#: mov ecx, LOOPS; 1: dec ecx; jnz 1b; hlt
_PROGRAM = b"\xb9" + LOOPS.to_bytes(4, "little") + b"\xff\xc9\x75\xfc\xf4"
_RIP, _RFLAGS = 16, 17
_SEGMENT, _SEGMENTS, _CONTROL_OFFSET = struct.Struct("QIHBBBBBBBBBB"), 6, 24 * 8 + 32
_CONTROL = struct.Struct("6Q")
_CR0_PE_NE_PG, _CR4_PAE, _EFER_LME_LMA = 0x8000_0021, 0x20, 0x500
#: The loop takes a processor 0.1 ms. The best of so many tries counts, for the host may be busy.
TRIES = 5
ENOUGH_SECONDS = 0.01
#: After which a guest that does not end is given up.
LIMIT_SECONDS = 10


def probe() -> str:
    """ "" where KVM works, else what is wrong."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    read, write = os.pipe()
    child = os.fork()  # what a broken KVM does to a process must not happen to this one
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_SECONDS)
        answer = "/dev/kvm opens, but does not work"
        try:
            answer = _judge(fd)
        except Exception as error:
            answer += f": {error}"
        finally:
            os.write(write, (answer or "works").encode())
            os._exit(0)
    os.close(write)
    os.close(fd)
    with open(read, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return "" if answer == "works" else answer or "/dev/kvm opens, but a guest does not get to its end"


def _judge(fd: int) -> str:
    best = min(_run(fd) for _ in range(TRIES))
    if best < ENOUGH_SECONDS:
        return ""
    return f"/dev/kvm opens, but an instruction takes {best / LOOPS / 2 * 1e9:.0f} ns: it is emulated"


def _run(fd: int) -> float:
    """Seconds that the loop takes in a machine of its own."""
    vm = fcntl.ioctl(fd, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _MEMORY_BYTES)
    for at, entry in ((_PML4, _PDPT | _ENTRY), (_PDPT, _PD | _ENTRY), (_PD, _LARGE)):
        struct.pack_into("Q", memory, at, entry)
    memory[_CODE : _CODE + len(_PROGRAM)] = _PROGRAM
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, _SET_TSS_ADDR, _TSS_ADDRESS)
    fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, struct.pack("IIQQQ", 0, 0, 0, _MEMORY_BYTES, address))
    vcpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    _enter_long_mode(vcpu)
    with mmap.mmap(vcpu, fcntl.ioctl(fd, _VCPU_MMAP_SIZE, 0)) as shared:
        began = time.perf_counter()
        fcntl.ioctl(vcpu, _RUN, 0)
        seconds = time.perf_counter() - began
        (reason,) = struct.unpack_from("I", shared, _EXIT_REASON_OFFSET)
    os.close(vcpu)
    os.close(vm)
    if reason != _EXIT_HLT:
        raise OSError(f"a guest ends with exit reason {reason}")
    return seconds


def _enter_long_mode(vcpu: int) -> None:
    special = bytearray(312)
    fcntl.ioctl(vcpu, _GET_SREGS, special)
    for number in range(_SEGMENTS):
        is_code = number == 0
        selector, kind = (8, 11) if is_code else (16, 3)
        flat = _SEGMENT.pack(0, 0xFFFF_FFFF, selector, kind, 1, 0, not is_code, 1, is_code, 1, 0, 0, 0)
        special[_SEGMENT.size * number : _SEGMENT.size * (number + 1)] = flat
    _CONTROL.pack_into(special, _CONTROL_OFFSET, _CR0_PE_NE_PG, 0, _PML4, _CR4_PAE, 0, _EFER_LME_LMA)
    fcntl.ioctl(vcpu, _SET_SREGS, bytes(special))
    general = [0] * 18
    general[_RIP], general[_RFLAGS] = _CODE, 2
    fcntl.ioctl(vcpu, _SET_REGS, struct.pack("18Q", *general))
