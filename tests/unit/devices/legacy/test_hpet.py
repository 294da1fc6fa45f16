"""The HPET: its counter, one-shot and periodic timers, legacy replacement."""

from __future__ import annotations

import pytest
from fake_time import FakeTime, Recorder

from ringfence.devices.legacy.hpet import TICK_NS, Hpet
from ringfence.devices.legacy.pit import Pit

CONFIG, STATUS, COUNTER = 0x10, 0x20, 0xF0
ENABLE, LEGACY = 1, 2
LEVEL, INTERRUPT, PERIODIC, SET_VALUE, BITS_32 = 2, 4, 8, 0x40, 0x100
MS = 1_000_000 // TICK_NS


def timer(index: int) -> int:
    return 0x100 + 0x20 * index


class Block(Hpet):
    def __init__(self, time: FakeTime) -> None:
        self.pins = {pin: Recorder() for pin in (20, 21)}
        self.irq0, self.irq8 = Recorder(), Recorder()
        super().__init__(time.clock, self.pins, self.irq0, self.irq8)
        self.time = time

    def get(self, register: int) -> int:
        return self.read(register, 8)

    def put(self, register: int, value: int) -> None:
        self.write(register, 8, value)

    def ticks(self, n: int) -> None:
        self.time.advance(n * TICK_NS)


@pytest.fixture
def hpet(time: FakeTime) -> Block:
    return Block(time)


def test_capabilities(hpet: Block) -> None:
    assert hpet.read(0, 4) == 0x8086_A201
    assert hpet.read(4, 4) == TICK_NS * 1_000_000
    hpet.put(0, 0)
    assert hpet.read(0, 4) == 0x8086_A201
    assert hpet.get(timer(0)) == 1 << 52 | 1 << 53 | 0x30


def test_the_counter_runs_when_enabled(hpet: Block) -> None:
    hpet.ticks(100)
    assert hpet.get(COUNTER) == 0
    hpet.put(COUNTER, 5000)
    hpet.put(CONFIG, ENABLE)
    hpet.ticks(100)
    assert hpet.get(COUNTER) == 5100
    hpet.put(COUNTER, 0)
    assert hpet.get(COUNTER) == 5100, "not while it runs"
    hpet.put(CONFIG, 0)
    hpet.ticks(100)
    assert hpet.get(COUNTER) == 5100
    hpet.write(COUNTER + 4, 4, 1)
    assert hpet.get(COUNTER) == 1 << 32 | 5100


def test_one_shot(hpet: Block) -> None:
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(1), INTERRUPT | 20 << 9)
    hpet.put(timer(1) + 8, 1000)
    hpet.ticks(999)
    assert hpet.pins[20].edges == 0
    hpet.ticks(1)
    assert (hpet.pins[20].edges, hpet.pins[20].level) == (1, False)
    hpet.ticks(100 * MS)
    assert hpet.pins[20].edges == 1
    assert hpet.get(STATUS) == 0, "edge-triggered"


def test_a_32_bit_timer_wraps(hpet: Block) -> None:
    hpet.put(COUNTER, (1 << 32) - 10)
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(0), INTERRUPT | BITS_32 | 20 << 9)
    hpet.write(timer(0) + 8, 4, 5)
    hpet.ticks(14)
    assert hpet.pins[20].edges == 0
    hpet.ticks(1)
    assert hpet.pins[20].edges == 1


def test_periodic_as_linux_sets_it(hpet: Block) -> None:
    hpet.put(CONFIG, ENABLE | LEGACY)
    hpet.put(timer(0), INTERRUPT | PERIODIC | SET_VALUE | BITS_32)
    hpet.write(timer(0) + 8, 4, 3 * MS)
    hpet.write(timer(0) + 8, 4, MS)
    hpet.ticks(3 * MS - 1)
    assert hpet.irq0.edges == 0
    hpet.ticks(1)
    assert hpet.irq0.edges == 1
    hpet.ticks(10 * MS)
    assert hpet.irq0.edges == 11
    assert hpet.get(timer(0) + 8) == 14 * MS


def test_a_64_bit_value_written_by_halves(hpet: Block) -> None:
    hpet.put(timer(0), PERIODIC | SET_VALUE)
    hpet.write(timer(0) + 8, 4, 0x11)
    hpet.write(timer(0) + 12, 4, 0x22)
    hpet.write(timer(0) + 8, 4, 0x33)
    assert hpet.get(timer(0) + 8) == 0x22_0000_0011
    assert hpet.timers[0].period == 0x22_0000_0033


def test_a_late_periodic_timer_does_not_storm(hpet: Block, time: FakeTime) -> None:
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(0), INTERRUPT | PERIODIC | SET_VALUE | 20 << 9)
    hpet.put(timer(0) + 8, 1)
    time.stall(1_000_000)
    time.advance(1_000_000)
    assert hpet.pins[20].edges <= 21


def test_level_triggered(hpet: Block) -> None:
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(2), INTERRUPT | LEVEL | 21 << 9)
    hpet.put(timer(2) + 8, 100)
    hpet.ticks(100)
    assert hpet.pins[21].level
    assert hpet.get(STATUS) == 4
    hpet.put(STATUS, 3)
    assert hpet.pins[21].level
    hpet.put(STATUS, 4)
    assert not hpet.pins[21].level
    assert hpet.get(STATUS) == 0


def test_a_timer_that_is_off_says_nothing(hpet: Block) -> None:
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(2), LEVEL | 21 << 9)
    hpet.put(timer(2) + 8, 100)
    hpet.ticks(100)
    assert hpet.pins[21].edges == 0


def test_a_timer_that_is_off_wakes_nobody_and_goes_on(hpet: Block) -> None:
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(0), PERIODIC | SET_VALUE | 20 << 9)
    hpet.put(timer(0) + 8, 3 * MS)
    hpet.put(timer(0) + 8, MS)
    assert hpet.get(timer(0) + 8) == 3 * MS
    assert hpet.time.clock.next_deadline_ns() is None
    hpet.ticks(10 * MS)
    assert hpet.get(timer(0) + 8) == 11 * MS
    hpet.put(timer(0), PERIODIC | INTERRUPT | 20 << 9)
    hpet.ticks(MS)
    assert hpet.pins[20].edges == 1


def test_a_timer_that_is_cut_off_wakes_nobody_and_goes_on_in_phase(hpet: Block, time: FakeTime) -> None:
    pit = Pit(time.clock, hpet.pit_line)
    for offset, value in ((3, 0x34), (0, 0x9C), (0, 0x2E)):  # some 100 Hz
        pit.write(offset, 1, value)
    hpet.ticks(55 * MS)
    assert hpet.irq0.edges == 6, "one as the mode was set"
    hpet.put(CONFIG, LEGACY)
    assert time.clock.next_deadline_ns() is None
    hpet.ticks(1000 * MS)
    hpet.put(CONFIG, 0)
    assert hpet.irq0.edges == 7, "the line is high"
    hpet.ticks(4 * MS)
    assert hpet.irq0.edges == 7
    hpet.ticks(3 * MS)
    assert hpet.irq0.edges == 8, "none is owed"
    hpet.put(CONFIG, LEGACY)
    for offset, value in ((3, 0x34), (0, 0x9C), (0, 0x2E)):
        pit.write(offset, 1, value)
    assert time.clock.next_deadline_ns() is None, "begun while it is cut off"


def test_legacy_replacement_cuts_off_the_old_timers(hpet: Block) -> None:
    hpet.pit_line.raise_()
    hpet.rtc_line.raise_()
    assert hpet.irq0.level
    assert hpet.irq8.level
    hpet.put(CONFIG, LEGACY)
    assert not hpet.irq0.level
    assert not hpet.irq8.level
    hpet.pit_line.lower()
    hpet.pit_line.raise_()
    assert hpet.irq0.edges == 1
    hpet.put(CONFIG, 0)
    assert hpet.irq0.level
    hpet.put(CONFIG, LEGACY)
    hpet.reset()
    assert hpet.irq0.level


def test_timer_1_replaces_the_rtc(hpet: Block) -> None:
    hpet.put(CONFIG, ENABLE | LEGACY)
    hpet.put(timer(1), INTERRUPT | 20 << 9)
    hpet.put(timer(1) + 8, 10)
    hpet.ticks(10)
    assert (hpet.irq8.edges, hpet.pins[20].edges) == (1, 0)


def test_any_access_is_survived(hpet: Block) -> None:
    for value in (0, (1 << 64) - 1, 0x5555_5555_5555_5555):
        for offset in range(0, 0x400, 4):
            hpet.write(offset, 4, value & 0xFFFF_FFFF)
            assert hpet.read(offset, 4) <= 0xFFFF_FFFF
        for offset in range(0, 0x400, 8):
            hpet.write(offset, 8, value)
            hpet.ticks(1)
        assert hpet.read(0x101, 1) <= 0xFF


def test_save_and_restore(hpet: Block, time: FakeTime) -> None:
    hpet.put(CONFIG, ENABLE)
    hpet.put(timer(0), INTERRUPT | PERIODIC | SET_VALUE | 20 << 9)
    hpet.put(timer(0) + 8, MS)
    hpet.put(timer(2), INTERRUPT | LEVEL | 21 << 9)
    hpet.put(timer(2) + 8, 100)
    hpet.ticks(MS // 2)
    other = Block(time)
    other.restore(hpet.save())
    assert other.save() == hpet.save()
    assert other.pins[21].level
    hpet.ticks(2 * MS)
    assert other.pins[20].edges == hpet.pins[20].edges == 2
