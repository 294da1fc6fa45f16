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

#: As many for the guest, and no more are asked for: what the inner backend has read by then still finds room.
_HOLD_PACKETS = QUEUE_PACKETS_MAX // 4


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
        self._transmit: Callable[[], None] | None = None
        #: the guest has no room; and the inner backend was told to wait
        self._is_full = self._is_held = False
        self.counters: Counter[str] = Counter()
        thread.loop.after_round.append(self._end_round)
        thread.start()

    def connect(self, on_receive: OnReceive) -> None:
        self._on_receive = on_receive
        self._thread.loop.call(lambda: self._inner.connect(self._from_inner))
        self.go_on()

    def send(self, packets: Sequence[bytes]) -> None:
        self._fill(self._to_inner, packets, "queue_dropped_to_network")
        if not self._inner_is_called:
            self._inner_is_called = True
            self._thread.loop.call(self._hand_to_inner)

    def defer(self, transmit: Callable[[], None]) -> bool:
        if not self._inner_is_called:
            return False
        self._transmit = transmit
        # asked again: the other thread may not have seen it, but then it has said before that it is done
        return self._inner_is_called

    def hold(self, is_held: bool) -> None:
        self._thread.loop.call(lambda: self._inner.hold(is_held))

    def go_on(self) -> None:
        self._is_full = False
        self._hand_to_guest()

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
        self._inner.send(_take(self._to_inner))

    def _end_round(self) -> None:
        if not self._inner_is_called:
            return
        self._inner_is_called = False
        if self._to_inner:
            self._inner_is_called = True
            self._thread.loop.call(self._hand_to_inner)
            return
        transmit, self._transmit = self._transmit, None
        if transmit is not None:
            self._post(transmit)

    def _from_inner(self, packets: Sequence[bytes]) -> bool:
        self._fill(self._to_guest, packets, "queue_dropped_to_guest")
        if len(self._to_guest) > _HOLD_PACKETS and not self._is_held:
            # first, so that the call that takes these packets sees it
            self._is_held = True
            self._inner.hold(True)
        if not self._guest_is_called:
            self._guest_is_called = True
            self._post(self._hand_to_guest)
        return not self._is_held

    # -- on the vCPU's thread --

    def _hand_to_guest(self) -> None:
        self._guest_is_called = False
        if self._is_full or self._on_receive is None:
            return
        packets = _take(self._to_guest)
        if packets:
            self._is_full = not self._on_receive(packets)
        if self._is_held:
            self._is_held = False
            self.hold(False)


def _take(queue: deque[bytes]) -> list[bytes]:
    """All that is there now; the other thread may go on filling."""
    return [queue.popleft() for _ in range(len(queue))]
