"""A loop over sockets and timers, for one thread: what a network backend or a switch runs on.

epoll(7) and a heap of timers, no more: asyncio's objects per read would cost more than the reads.
"""

from __future__ import annotations

import heapq
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count

from ringfence.log import logger

READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
_FAILED = select.EPOLLHUP | select.EPOLLERR
_EVENTS_MAX = 64
_TIMERS_MIN = 256

OnEvent = Callable[[int], None]


class Timer:
    """One call at a later time, unless it is cancelled."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work

    def cancel(self) -> None:
        self.work = None


class EventLoop:
    """Runs handlers one after the other on the thread that calls `run`.

    A handler that raises is a bug of ours, logged and counted, and the loop goes on: one connection's
    trouble is not all the others'.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, OnEvent] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._timers_limit = _TIMERS_MIN
        self._order = count()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, READABLE)
        self._is_awake = False
        self._is_stopped = False
        self.failures = 0
        #: called at the end of each round
        self.after_round: list[Callable[[], None]] = []
        #: set by one of these: the next round does not wait
        self.is_hurried = False

    # -- from any thread --

    def call(self, work: Callable[[], None]) -> None:
        """Have ``work`` called soon by the loop."""
        self._calls.append(work)
        if not self._is_awake:
            self._is_awake = True
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """`run` returns soon."""
        self._is_stopped = True
        self.call(_nothing)

    # -- from handlers --

    def call_later(self, seconds: float, work: Callable[[], None]) -> Timer:
        if len(self._timers) >= self._timers_limit:
            self._drop_cancelled()
        timer = Timer(work)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def watch(self, fd: int, events: int, handler: OnEvent) -> None:
        """Call ``handler`` with the events that are there, as long as they are. A failure counts as
        both, so that the next read or write meets it."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # -- the loop's own --

    def run(self) -> None:
        while not self._is_stopped:
            self.run_once()

    def run_once(self, limit_seconds: float | None = None) -> None:
        """One round: wait for something at most so long, and handle all that is there."""
        for fd, events in self._epoll.poll(self._timeout(limit_seconds), _EVENTS_MAX):
            if fd == self._wake:
                os.eventfd_read(fd)
                continue
            handler = self._handlers.get(fd)
            if handler is not None:
                self._guard(handler, events | (READABLE | WRITABLE if events & _FAILED else 0))
        # cleared before the calls are taken: one that comes later writes to the eventfd
        self._is_awake = False
        for _ in range(len(self._calls)):
            self._guard(self._calls.popleft())
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            work = heapq.heappop(self._timers)[2].work
            if work is not None:
                self._guard(work)
        self.is_hurried = False
        for work in self.after_round:
            self._guard(work)

    def close(self) -> None:
        """After `run` has returned."""
        self._handlers.clear()
        self._epoll.close()
        os.close(self._wake)

    def _timeout(self, limit_seconds: float | None) -> float | None:
        while self._timers and self._timers[0][2].work is None:
            heapq.heappop(self._timers)
        if self._calls or self.is_hurried:
            return 0
        if not self._timers:
            return limit_seconds
        seconds = max(0.0, self._timers[0][0] - time.monotonic())
        return seconds if limit_seconds is None else min(seconds, limit_seconds)

    def _drop_cancelled(self) -> None:
        """Now and then: timers that are cancelled long before their time would pile up."""
        self._timers = [entry for entry in self._timers if entry[2].work is not None]
        heapq.heapify(self._timers)
        self._timers_limit = max(_TIMERS_MIN, 2 * len(self._timers))

    def _guard(self, handler: Callable[..., None], *arguments: int) -> None:
        try:
            handler(*arguments)
        except Exception:
            self.failures += 1
            logger.warning("network: a handler failed", exc_info=True)


class LoopThread:
    """A thread that runs a loop of its own until it is closed."""

    def __init__(self, name: str) -> None:
        self.loop = EventLoop()
        self._thread = threading.Thread(target=self.loop.run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop it; on return no handler runs any more."""
        self.loop.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self.loop.close()


def _nothing() -> None:
    """Wakes the loop."""
