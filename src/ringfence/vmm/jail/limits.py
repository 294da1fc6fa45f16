"""What a VMM process may use at most."""

from __future__ import annotations

import contextlib
import resource

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
