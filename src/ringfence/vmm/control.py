"""The life of one VM as its threads see it: running, paused, ended; and work posted to it.

Any thread may call `post`, `pause`, `resume` and `end`. vCPU loops look at `is_interrupted`, one
attribute, once a turn, and only then come here. It outlives a reboot: what was posted and asked
for while the board is rebuilt is not lost.

`lock` is the one big lock: whoever runs device code holds it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ringfence.devices.clock import Clock
from ringfence.vmm.outcome import Kind, Outcome


class Wakeable(Protocol):
    """A vCPU loop: `wake` makes it leave the guest, or its sleep, soon."""

    is_stuck: bool
    is_asleep: bool

    def wake(self) -> None: ...


class Control:
    """Starts, pauses and ends the vCPU loops of one VM."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        #: a loop has to call `park` before it enters the guest again
        self.is_interrupted = False
        self.outcome: Outcome | None = None
        self._clock = Clock()
        self._changed = threading.Condition()
        self._is_paused = False
        self._loops: Sequence[Wakeable] = ()
        self._threads: set[int] = set()
        self._running = 0
        self._posted: deque[Callable[[], None]] = deque()

    # -- from any thread --

    def post(self, work: Callable[[], None]) -> None:
        """Have ``work`` called soon on a vCPU's thread, where device code may run."""
        self._posted.append(work)
        for loop in self._loops[:1]:
            loop.wake()

    def pause(self) -> None:
        """Stop guest time; returns once no vCPU runs. A vCPU's own thread does not wait."""
        with self._changed:
            self._is_paused = True
            self._interrupt()
            if threading.get_ident() not in self._threads:
                self._changed.wait_for(lambda: self._running == 0 or not self._is_paused)

    def resume(self) -> None:
        """Let the guest run on from where it was paused."""
        with self._changed:
            self._is_paused = False
            self._clock.resume()
            self._update()

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    @property
    def is_idle(self) -> bool:
        """All vCPUs have halted, until something happens."""
        loops = self._loops
        return bool(loops) and all(loop.is_asleep for loop in loops)

    def end(self, outcome: Outcome) -> None:
        """End this run. The first ending counts, but a reset gives way to any other."""
        with self._changed:
            if self.outcome is None or self.outcome.kind is Kind.RESET:
                self.outcome = outcome
            self._interrupt()

    def begin(self, loops: Sequence[Wakeable], clock: Clock) -> None:
        """A new run, from power-on or after a reset, by these loops in this board's time.

        An ending that was asked for since the reset stays.
        """
        with self._changed:
            self._loops = loops
            self._clock = clock
            if self.outcome is not None and self.outcome.kind is Kind.RESET:
                self.outcome = None
            self._update()

    # -- from vCPU loops --

    def run_posted(self) -> bool:
        """Call what was posted; whether there was any. The caller holds `lock`."""
        count = len(self._posted)
        for _ in range(count):
            self._posted.popleft()()
        return count > 0

    def all_stuck(self) -> bool:
        """No vCPU can ever run again."""
        return all(loop.is_stuck for loop in self._loops)

    def enter(self) -> bool:
        """A loop's thread starts: waits while paused; False when there is nothing to run."""
        with self._changed:
            self._threads.add(threading.get_ident())
            self._running += 1
            return self._wait_out_pause()

    def park(self) -> bool:
        """Wait while paused; False when the run has ended."""
        with self._changed:
            return self._wait_out_pause()

    def leave(self) -> None:
        """A loop's thread ends."""
        with self._changed:
            self._threads.discard(threading.get_ident())
            self._running -= 1
            self._changed.notify_all()

    def _wait_out_pause(self) -> bool:
        while self._is_paused and self.outcome is None:
            self._running -= 1
            if self._running == 0:
                self._clock.pause()
            self._changed.notify_all()
            self._changed.wait()
            self._running += 1
        return self.outcome is None

    def _interrupt(self) -> None:
        self._update()
        for loop in self._loops:
            loop.wake()

    def _update(self) -> None:
        self.is_interrupted = self._is_paused or self.outcome is not None
        self._changed.notify_all()
