"""The virtual machine's time, and alarms set in it.

Guest time is host monotonic time less the time spent paused. One `Clock` a VM; the vCPU loop
runs the alarms that are due and tells the engine when the next one falls.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable


class Clock:
    """Nanoseconds since the VM started, standing still while it is paused."""

    def __init__(self, host_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._host_ns = host_ns
        #: host_ns() - guest time, while running
        self.offset_ns = host_ns()
        self._paused_at: int | None = None
        self._heap: list[tuple[int, int, Alarm]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        if self._paused_at is not None:
            return self._paused_at
        return self._host_ns() - self.offset_ns

    def pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = self.now_ns()

    def resume(self) -> None:
        if self._paused_at is not None:
            self.offset_ns = self._host_ns() - self._paused_at
            self._paused_at = None

    def alarm(self, callback: Callable[[], None]) -> Alarm:
        """A new alarm, not set yet, that will call ``callback`` on the vCPU loop's thread."""
        return Alarm(self, callback)

    def next_deadline_ns(self) -> int | None:
        """When the earliest alarm falls due, in guest time; None with no alarm set."""
        while self._heap and self._heap[0][2].deadline_ns != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Call every alarm that is due. An alarm may set itself again while it runs."""
        now = self.now_ns()
        while (deadline := self.next_deadline_ns()) is not None and deadline <= now:
            alarm = heapq.heappop(self._heap)[2]
            alarm.deadline_ns = None
            alarm.callback()

    def _push(self, alarm: Alarm, deadline_ns: int) -> None:
        heapq.heappush(self._heap, (deadline_ns, next(self._order), alarm))


class Alarm:
    """One shot at a guest time. Setting it again replaces the earlier deadline."""

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback = callback
        self.deadline_ns: int | None = None

    def set(self, deadline_ns: int) -> None:
        if deadline_ns != self.deadline_ns:
            self.deadline_ns = deadline_ns
            self._clock._push(self, deadline_ns)

    def cancel(self) -> None:
        self.deadline_ns = None
