"""Periodic ticks: their phase, and what a stalled guest is owed."""

from __future__ import annotations

import itertools

from fake_time import FakeTime

from ringfence.devices.clock import MIN_PERIOD_NS
from ringfence.devices.legacy.ticker import OWED_LIMIT, Ticker

MS = 1_000_000


def test_ticks_keep_their_phase(time: FakeTime) -> None:
    seen: list[int] = []
    ticker = Ticker(time.clock, lambda: seen.append(time.ns))
    ticker.start(0, 10 * MS, 3)  # 3.333 ms
    time.advance(1000 * MS)
    assert len(seen) == 300
    assert seen[0] == 3_333_334
    assert seen[299] == 1000 * MS


def test_a_short_stall_is_made_up_for(time: FakeTime) -> None:
    seen: list[int] = []
    ticker = Ticker(time.clock, lambda: seen.append(time.ns))
    ticker.start(0, MS)
    time.advance(5 * MS)
    time.stall(10 * MS)
    assert len(seen) == 6, "one interrupt for now, not ten"
    time.advance(25 * MS)
    assert len(seen) == 40
    assert min(b - a for a, b in itertools.pairwise(seen)) >= MS // 2


def test_a_long_stall_is_lost(time: FakeTime) -> None:
    seen: list[int] = []
    ticker = Ticker(time.clock, lambda: seen.append(time.ns))
    ticker.start(0, MS)
    time.stall(1000 * MS)
    time.advance(1000 * MS)
    assert 1000 <= len(seen) <= 1000 + OWED_LIMIT


def test_the_host_does_not_run_for_a_tiny_period(time: FakeTime) -> None:
    seen: list[int] = []
    ticker = Ticker(time.clock, lambda: seen.append(time.ns))
    ticker.start(0, 1)
    time.advance(10 * MS)
    assert len(seen) <= 10 * MS // MIN_PERIOD_NS + 1


def test_stopping_from_the_callback(time: FakeTime) -> None:
    ticker = Ticker(time.clock, lambda: ticker.stop())
    ticker.start(0, MS)
    time.advance(10 * MS)
    assert ticker.ticks == 1


def test_save_and_restore(time: FakeTime) -> None:
    seen: list[int] = []
    ticker = Ticker(time.clock, lambda: None)
    ticker.start(0, MS)
    time.advance(5 * MS + 200)
    other = Ticker(time.clock, lambda: seen.append(time.ns))
    other.restore(ticker.save())
    time.advance(2 * MS)
    assert seen == [6 * MS, 7 * MS]
