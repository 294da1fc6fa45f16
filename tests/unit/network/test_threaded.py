"""Packets between two threads: in batches, and with a word back to who sends too much."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ringfence.network.backend import QUEUE_PACKETS_MAX, OnReceive
from ringfence.network.threaded import Threaded


class Inner:
    """The backend on the other thread."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.is_held = False

    def connect(self, on_receive: OnReceive) -> None:
        self.on_receive = on_receive

    def send(self, packets: Sequence[bytes]) -> None:
        self.batches.append(list(packets))

    def hold(self, is_held: bool) -> None:
        self.is_held = is_held

    def close(self) -> None: ...

    def metrics(self) -> dict[str, int]:
        return {}


class Thread:
    """A loop's thread that goes round when it is told to; it is its own loop."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.after_round: list[Callable[[], None]] = []

    @property
    def loop(self) -> Thread:
        return self

    def call(self, work: Callable[[], None]) -> None:
        self.calls.append(work)

    def start(self) -> None: ...

    def close(self) -> None: ...

    def run_once(self) -> None:
        calls, self.calls = self.calls, []
        for work in [*calls, *self.after_round]:
            work()


class Rig:
    def __init__(self) -> None:
        self.inner, self.thread = Inner(), Thread()
        self.posted: list[Callable[[], None]] = []
        self.received: list[bytes] = []
        self.has_room = True
        self.threaded = Threaded(self.inner, self.thread, self.posted.append)  # type: ignore[arg-type]
        self.threaded.connect(self.receive)
        self.thread.run_once()

    def receive(self, packets: Sequence[bytes]) -> bool:
        self.received += packets
        return self.has_room

    def run_posted(self) -> None:
        posted, self.posted[:] = list(self.posted), []
        for work in posted:
            work()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_batch_is_handed_over_once_and_the_sender_called_when_it_is_done(rig: Rig) -> None:
    assert not rig.threaded.defer(pytest.fail)
    rig.threaded.send([b"a", b"b"])
    called: list[bool] = []
    assert rig.threaded.defer(lambda: called.append(True))
    rig.thread.run_once()
    assert rig.inner.batches == [[b"a", b"b"]] and not called
    rig.run_posted()
    assert called == [True]
    assert not rig.threaded.defer(pytest.fail)


def test_what_is_sent_meanwhile_is_not_left(rig: Rig) -> None:
    rig.threaded.send([b"a"])
    rig.threaded.send([b"b"])
    rig.thread.run_once()
    rig.thread.run_once()
    assert [packet for batch in rig.inner.batches for packet in batch] == [b"a", b"b"]


def test_a_full_guest_holds_the_other_side_until_it_has_room(rig: Rig) -> None:
    rig.has_room = False
    rig.inner.on_receive([b"first"])
    rig.run_posted()
    is_asked = True
    count = 0
    while is_asked and count < QUEUE_PACKETS_MAX:
        is_asked = rig.inner.on_receive([b"more"])
        count += 1
    assert rig.inner.is_held and count < QUEUE_PACKETS_MAX
    rig.run_posted()
    assert rig.received == [b"first"], "no more while there is no room"
    rig.has_room = True
    rig.threaded.go_on()
    rig.thread.run_once()
    assert len(rig.received) == 1 + count and not rig.inner.is_held
    assert not rig.threaded.counters


def test_a_new_nic_is_not_kept_waiting_by_the_old_ones_queue(rig: Rig) -> None:
    rig.has_room = False
    rig.inner.on_receive([b"x"] * (QUEUE_PACKETS_MAX // 2))
    rig.run_posted()
    rig.inner.on_receive([b"x"] * (QUEUE_PACKETS_MAX // 2))
    assert rig.inner.is_held
    rig.has_room = True
    rig.threaded.connect(rig.receive)
    rig.thread.run_once()
    assert not rig.inner.is_held
