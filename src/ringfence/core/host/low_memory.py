"""Host memory below 2 GiB, for vCPU contexts: machine code reaches it by an absolute address."""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.host.low_memory import (
    MAP_32BIT,
    MAP_ANONYMOUS,
    MAP_FAILED,
    MAP_PRIVATE,
    PROT_READ,
    PROT_WRITE,
    mmap,
    munmap,
)

from ringfence.errors import HostError


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def try_map_low(size: cython.size_t) -> cython.p_void:
    """Zeroed pages below 2 GiB; NULL when the host has none there."""
    at: cython.p_void = mmap(
        cython.NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0
    )
    return cython.NULL if at == MAP_FAILED else at


@cython.cfunc
@cython.exceptval(0, check=False)
def map_low(size: cython.size_t) -> uint64_t:
    """The same; HostError when the host has none there."""
    at: cython.p_void = try_map_low(size)
    if at == cython.NULL:
        raise HostError("the host has no memory below 2 GiB for a virtual CPU")
    return cython.cast(uint64_t, at)


@cython.cfunc
@cython.exceptval(check=False)
def unmap_low(at: cython.p_void, size: cython.size_t) -> cython.void:
    if at != cython.NULL:
        munmap(at, size)
