"""How long to wait for an agent that does not answer.

A guest that still boots will have one soon, a guest without one never. From outside they look the same but
for this: who boots has something to do. So a guest whose vCPUs are hardly ever awake has no agent to start.
"""

from __future__ import annotations

from collections.abc import Callable

#: For a guest that has something to do.
READY_SECONDS = 60.0
#: For one that has not.
IDLE_SECONDS = 5.0
LOOK_SECONDS = 0.05
#: One look that finds it awake undoes so many: idle is who sleeps more than nine tenths of the time.
AWAKE_WEIGHT = 10


def wait_patiently(is_ready: Callable[[float], bool], is_idle: Callable[[], bool]) -> bool:
    """Whether there was an agent in the end. ``is_ready`` waits for one, so many seconds at most.

    Looks are counted, not seconds: a process that is stopped for a while has not waited.
    """
    idle_looks = 0
    for _ in range(round(READY_SECONDS / LOOK_SECONDS)):
        if is_ready(LOOK_SECONDS):
            return True
        idle_looks = idle_looks + 1 if is_idle() else max(0, idle_looks - AWAKE_WEIGHT)
        if idle_looks * LOOK_SECONDS >= IDLE_SECONDS:
            return False
    return False
