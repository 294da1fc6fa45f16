"""What a VMM process may use at most, and which descriptors it has from who started it."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable

from ringfence.units import GIB

#: Descriptors: a share's, a network's connections, the control socket's.
DESCRIPTORS_MAX = 8192
#: The VMM's own memory, without guest RAM, which is shared: caches, stacks, Python's heap.
OWN_MEMORY_MAX_BYTES = 8 * GIB

_LIMITS = {
    "core": (resource.RLIMIT_CORE, 0),
    "descriptors": (resource.RLIMIT_NOFILE, DESCRIPTORS_MAX),
    "own_memory_bytes": (resource.RLIMIT_DATA, OWN_MEMORY_MAX_BYTES),
    "locked_bytes": (resource.RLIMIT_MEMLOCK, 0),
    "queue_bytes": (resource.RLIMIT_MSGQUEUE, 0),
    "real_time_priority": (resource.RLIMIT_RTPRIO, 0),
}


def set_limits() -> dict[str, int]:
    """Lower each limit to ours, or leave it where it is lower; what they are now."""
    held = {}
    for name, (limit, wanted) in _LIMITS.items():
        hard = resource.getrlimit(limit)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
        held[name] = resource.getrlimit(limit)[0]
    return held


def close_inherited(keep: Iterable[int] = ()) -> int:
    """Close every descriptor but the standard streams and ``keep``; how many were open.

    To be called before anything of this process has opened one.
    """
    kept = {0, 1, 2, *keep}
    closed = 0
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
                closed += 1
    return max(0, closed)
