"""The virtual machine's time, and alarms set in it.

Guest time is host monotonic time less the time spent paused. One `Clock` a VM; the vCPU loop
runs the alarms that are due and tells the engine when the next one falls.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

#: The shortest period a periodic alarm is given. A guest may program a timer to fire every
#: nanosecond; the host does not run for that: ticks in between are owed or dropped.
MIN_PERIOD_NS = 50_000

#: Entries of replaced deadlines that may wait in the heap before it is rebuilt without them.
STALE_LIMIT = 64


class Clock:
    """Nanoseconds since the VM started, standing still while it is paused."""

    def __init__(self, host_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._host_ns = host_ns
        #: host_ns() - guest time, while running
        self.offset_ns = host_ns()
        self._paused_at: int | None = None
        self._heap: list[tuple[int, int, Alarm]] = []
        self._tickets = itertools.count()
        self._rebuild_at = STALE_LIMIT

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
        while self._heap and self._heap[0][2].ticket != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Call every alarm that is due, each at most once.

        An alarm may set itself again while it runs; when it does so for a time already past,
        it runs at the next call, so that no guest's timer can hold the loop here.
        """
        now = self.now_ns()
        due: list[tuple[int, int, Alarm]] = []
        while (deadline := self.next_deadline_ns()) is not None and deadline <= now:
            due.append(heapq.heappop(self._heap))
        for _, ticket, alarm in due:
            # An earlier callback of this round may have cancelled it or set it anew.
            if alarm.ticket == ticket:
                alarm.cancel()
                alarm.callback()

    def push(self, alarm: Alarm, deadline_ns: int) -> None:
        """Queue ``alarm``; its earlier entries no longer count."""
        alarm.ticket = next(self._tickets)
        heapq.heappush(self._heap, (deadline_ns, alarm.ticket, alarm))
        if len(self._heap) > self._rebuild_at:
            # A guest that keeps reprogramming a timer leaves stale entries behind.
            self._heap = [entry for entry in self._heap if entry[2].ticket == entry[1]]
            heapq.heapify(self._heap)
            self._rebuild_at = 2 * len(self._heap) + STALE_LIMIT


class Alarm:
    """One shot at a guest time. Setting it again replaces the earlier deadline."""

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback = callback
        self.deadline_ns: int | None = None
        #: which of the clock's entries is the live one
        self.ticket: int | None = None

    def set(self, deadline_ns: int) -> None:
        if deadline_ns != self.deadline_ns:
            self.deadline_ns = deadline_ns
            self._clock.push(self, deadline_ns)

    def cancel(self) -> None:
        self.deadline_ns = self.ticket = None
