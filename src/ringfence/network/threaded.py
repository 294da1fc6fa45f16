"""Carries packets between the vCPU's thread and the thread that a backend runs on, in batches.

Each direction has one bounded queue and at most one hand-over under way: while a side is busy, what
comes for it piles up for its next turn. A full queue drops, as a full wire does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from ringfence.network.backend import QUEUE_PACKETS_MAX, NetworkBackend, OnReceive
from ringfence.network.event_loop import LoopThread

Post = Callable[[Callable[[], None]], None]


class Threaded:
    """The NIC's end of ``inner``, all of whose methods are called on ``thread``.

    Args:
        post: has something called soon on the vCPU's thread.
    """

    def __init__(self, inner: NetworkBackend, thread: LoopThread, post: Post) -> None:
        self._inner = inner
        self._thread = thread
        self._post = post
        self._on_receive: OnReceive | None = None
        self._to_inner: deque[bytes] = deque()
        self._to_guest: deque[bytes] = deque()
        self._inner_is_called = self._guest_is_called = False
        self.counters: Counter[str] = Counter()
        thread.start()

    def connect(self, on_receive: OnReceive) -> None:
        self._on_receive = on_receive
        self._thread.loop.call(lambda: self._inner.connect(self._from_inner))

    def send(self, packets: Sequence[bytes]) -> None:
        self._fill(self._to_inner, packets, "queue_dropped_to_network")
        if not self._inner_is_called:
            self._inner_is_called = True
            self._thread.loop.call(self._hand_to_inner)

    def close(self) -> None:
        self._on_receive = None
        self._thread.close()
        self._inner.close()

    def metrics(self) -> dict[str, int]:
        return {**self._inner.metrics(), **self.counters}

    def _fill(self, queue: deque[bytes], packets: Sequence[bytes], name: str) -> None:
        room = max(0, QUEUE_PACKETS_MAX - len(queue))
        queue.extend(packets[:room])
        if len(packets) > room:
            self.counters[name] += len(packets) - room

    # -- on the loop's thread --

    def _hand_to_inner(self) -> None:
        self._inner_is_called = False
        self._inner.send(_take(self._to_inner))

    def _from_inner(self, packets: Sequence[bytes]) -> None:
        self._fill(self._to_guest, packets, "queue_dropped_to_guest")
        if not self._guest_is_called:
            self._guest_is_called = True
            self._post(self._hand_to_guest)

    # -- on the vCPU's thread --

    def _hand_to_guest(self) -> None:
        self._guest_is_called = False
        packets = _take(self._to_guest)
        if self._on_receive is not None and packets:
            self._on_receive(packets)


def _take(queue: deque[bytes]) -> list[bytes]:
    """All that is there now; the other thread may go on filling."""
    return [queue.popleft() for _ in range(len(queue))]
