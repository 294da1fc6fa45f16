"""The virtual machine's clock: pausing, alarms, and a heap that a guest can't grow."""

from __future__ import annotations

import pytest

from ringfence.devices.clock import STALE_LIMIT, Clock


class Host:
    ns = 1_000_000

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def host() -> Host:
    return Host()


def test_it_starts_at_zero_and_stands_still_while_paused(host: Host) -> None:
    clock = Clock(host)
    assert clock.now_ns() == 0
    host.ns += 500
    clock.pause()
    host.ns += 10_000
    assert clock.now_ns() == 500
    clock.resume()
    clock.resume()
    assert clock.now_ns() == 500
    host.ns += 7
    assert clock.now_ns() == 507


def test_due_alarms_run_in_order(host: Host) -> None:
    clock, seen = Clock(host), []
    for deadline in (300, 100, 200, 900):
        clock.alarm(lambda d=deadline: seen.append(d)).set(deadline)  # type: ignore[misc]
    host.ns += 400
    clock.run_due()
    assert seen == [100, 200, 300]
    assert clock.next_deadline_ns() == 900


def test_setting_replaces_and_cancelling_removes(host: Host) -> None:
    clock, seen = Clock(host), []
    alarm = clock.alarm(lambda: seen.append(clock.now_ns()))
    alarm.set(100)
    alarm.set(200)
    host.ns += 150
    clock.run_due()
    assert seen == []
    alarm.cancel()
    host.ns += 150
    clock.run_due()
    assert seen == []
    assert clock.next_deadline_ns() is None


def test_an_alarm_that_is_always_late_does_not_hold_the_loop(host: Host) -> None:
    clock, runs = Clock(host), []

    def again() -> None:
        runs.append(1)
        alarm.set(0)

    alarm = clock.alarm(again)
    alarm.set(0)
    clock.run_due()
    assert len(runs) == 1
    clock.run_due()
    assert len(runs) == 2


def test_an_alarm_cancelled_by_an_earlier_one_does_not_run(host: Host) -> None:
    clock, seen = Clock(host), []
    second = clock.alarm(lambda: seen.append("second"))
    first = clock.alarm(second.cancel)
    first.set(1)
    second.set(2)
    host.ns += 10
    clock.run_due()
    assert seen == []


def test_reprogramming_does_not_grow_the_heap(host: Host) -> None:
    clock = Clock(host)
    alarm, other = clock.alarm(lambda: None), clock.alarm(lambda: None)
    other.set(1 << 40)
    for i in range(10_000):
        alarm.set((1 << 41) + i % 2)
    assert len(clock._heap) <= 3 * STALE_LIMIT
    assert clock.next_deadline_ns() == 1 << 40
