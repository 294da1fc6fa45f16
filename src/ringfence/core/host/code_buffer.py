"""Host memory for generated code: one memfd, mapped once for writing and once for running.

No mapping is both writable and executable, so a stray write can't become code that runs. Code is
named by its offset, which is the same in both mappings; offset 0 is never given out and means
"none". Pages cost memory only once code is in them.
"""

import os

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.host.code_buffer import (
    MAP_FAILED,
    MAP_FIXED,
    MAP_SHARED,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    Bytes,
    Code,
    CodeBufferP,
    mmap,
    munmap,
)


@cython.cfunc
@cython.exceptval(check=True)
def map_code(at: Bytes, size: uint32_t, protection: cython.int, fd: cython.int) -> Bytes:
    """Map `fd` anywhere, or over the mapping `at` when that is not NULL."""
    flags: cython.int = MAP_SHARED | MAP_FIXED if at != cython.NULL else MAP_SHARED
    mapped: Bytes = cython.cast(Bytes, mmap(at, size, protection, flags, fd, 0))
    if mapped == cython.cast(Bytes, MAP_FAILED):
        raise OSError("the host refuses memory for generated code")
    return mapped


@cython.cfunc
@cython.exceptval(-1, check=False)
def open_code_buffer(buffer: CodeBufferP, capacity_bytes: uint32_t) -> cython.int:
    fd: cython.int = os.memfd_create("ringfence-code", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, capacity_bytes)
        # SAFETY: whole new mappings of a file of exactly this size, kept for the process's life
        buffer.writable = map_code(cython.NULL, capacity_bytes, PROT_READ | PROT_WRITE, fd)
        buffer.executable = map_code(cython.NULL, capacity_bytes, PROT_READ | PROT_EXEC, fd)
    finally:
        os.close(fd)
    buffer.capacity_bytes = capacity_bytes
    buffer.used_bytes = 16
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def close_code_buffer(buffer: CodeBufferP) -> cython.void:
    munmap(buffer.writable, buffer.capacity_bytes)
    munmap(buffer.executable, buffer.capacity_bytes)


@cython.cfunc
@cython.exceptval(-1, check=False)
def unshare_code_buffer(buffer: CodeBufferP) -> cython.int:
    """Give a forked child a copy of its own at the same addresses: shared pages would let parent
    and child write different code to one offset."""
    fd: cython.int = os.memfd_create("ringfence-code", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, buffer.capacity_bytes)
        os.pwrite(fd, cython.cast(cython.p_char, buffer.writable)[: buffer.used_bytes], 0)
        # SAFETY: the same two ranges, replaced by a file of the same size and content
        map_code(buffer.writable, buffer.capacity_bytes, PROT_READ | PROT_WRITE, fd)
        map_code(buffer.executable, buffer.capacity_bytes, PROT_READ | PROT_EXEC, fd)
    finally:
        os.close(fd)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def append_code(buffer: CodeBufferP, code: Code, size: uint32_t) -> uint32_t:
    """Copy `code` in and return its offset; 0 when the buffer is full."""
    offset: uint32_t = buffer.used_bytes
    if size > buffer.capacity_bytes - offset:
        return 0
    # SAFETY: [offset, offset + size) was just checked against the capacity
    memcpy(buffer.writable + offset, code, size)
    # the next piece starts on 16 bytes, which the processor fetches best
    buffer.used_bytes = min((offset + size + 15) & ~cython.cast(uint32_t, 15), buffer.capacity_bytes)
    return offset
