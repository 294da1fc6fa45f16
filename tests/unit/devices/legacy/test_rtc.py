"""The MC146818: formats, setting, update cycle, interrupts, and the cells firmware fills."""

from __future__ import annotations

import calendar
import itertools

import pytest
from fake_time import FakeTime, Recorder

from ringfence.devices.legacy.rtc import Rtc
from ringfence.units import GIB, MIB, NS_PER_S

START = calendar.timegm((2024, 2, 29, 13, 45, 58))  # a Thursday
SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WEEKDAY, DAY, MONTH, YEAR = range(10)
A, B, C, D, CENTURY = 0x0A, 0x0B, 0x0C, 0x0D, 0x32
SET, PIE, AIE, UIE, BINARY, H24 = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02


class Cmos(Rtc):
    def __init__(self, time: FakeTime, line: Recorder) -> None:
        super().__init__(time.clock, line, wall_ns=lambda: START * NS_PER_S + time.ns)

    def get(self, index: int) -> int:
        self.write(0, 1, index)
        return self.read(1, 1)

    def put(self, index: int, value: int) -> None:
        self.write(0, 1, index)
        self.write(1, 1, value)

    def now(self) -> list[int]:
        return [self.get(i) for i in (CENTURY, YEAR, MONTH, DAY, HOUR, MIN, SEC)]


@pytest.fixture
def rtc(time: FakeTime, line: Recorder) -> Cmos:
    return Cmos(time, line)


def test_the_time_in_bcd_and_binary(rtc: Cmos) -> None:
    assert rtc.now() == [0x20, 0x24, 0x02, 0x29, 0x13, 0x45, 0x58]
    assert rtc.get(WEEKDAY) == 5
    rtc.put(B, BINARY | H24)
    assert rtc.now() == [20, 24, 2, 29, 13, 45, 58]


@pytest.mark.parametrize(
    ("hour", "shown"), [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)]
)
def test_twelve_hours(rtc: Cmos, hour: int, shown: int) -> None:
    rtc.put(HOUR, hour // 10 << 4 | hour % 10)
    rtc.put(B, 0)
    assert rtc.get(HOUR) == shown
    rtc.put(HOUR, shown)
    rtc.put(B, BINARY | H24)
    assert rtc.get(HOUR) == hour


def test_it_runs_and_carries(rtc: Cmos, time: FakeTime) -> None:
    time.advance(3 * NS_PER_S)
    assert rtc.now()[-2:] == [0x46, 0x01]
    time.advance(12 * 3600 * NS_PER_S)
    assert rtc.now()[1:4] == [0x24, 0x03, 0x01]


def test_setting_as_linux_does(rtc: Cmos, time: FakeTime) -> None:
    rtc.put(B, SET | H24)
    rtc.put(A, 0x76)
    new = {CENTURY: 0x19, YEAR: 0x99, MONTH: 0x12, DAY: 0x31, HOUR: 0x23, MIN: 0x59, SEC: 0x59}
    for register, value in new.items():
        rtc.put(register, value)
    time.advance(10 * NS_PER_S)
    assert rtc.now()[-1] == 0x59, "it stands still"
    rtc.put(B, H24)
    rtc.put(A, 0x26)
    time.advance(2 * NS_PER_S)
    assert rtc.now() == [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01]


def test_nonsense_becomes_some_date(rtc: Cmos, time: FakeTime) -> None:
    for mode, value in itertools.product((0, H24, BINARY, BINARY | H24), (0x00, 0x7F, 0x80, 0xFF)):
        rtc.put(B, SET | mode)
        for register in (CENTURY, YEAR, MONTH, DAY, WEEKDAY, HOUR, MIN, SEC):
            rtc.put(register, value)
        rtc.put(B, mode)
        time.advance(NS_PER_S)
        assert all(0 <= byte <= 0xFF for byte in rtc.now())


def test_update_in_progress_is_before_the_second(rtc: Cmos, time: FakeTime) -> None:
    assert not rtc.get(A) & 0x80
    time.advance(NS_PER_S - 300_000)
    assert rtc.get(A) & 0x80
    assert rtc.now()[-1] == 0x58
    time.advance(300_000)
    assert not rtc.get(A) & 0x80
    assert rtc.now()[-1] == 0x59
    time.advance(NS_PER_S - 300_000)
    rtc.put(B, SET | H24)
    assert not rtc.get(A) & 0x80


def test_update_interrupt(rtc: Cmos, time: FakeTime, line: Recorder) -> None:
    rtc.put(B, UIE | H24)
    time.advance(NS_PER_S)
    assert line.level
    assert rtc.get(C) == 0xD0, "the periodic flag rises whether enabled or not"
    assert not line.level
    assert rtc.get(C) == 0
    time.advance(3 * NS_PER_S)
    assert line.edges == 2, "the line stays up until C is read"


def test_flags_rise_with_interrupts_off(rtc: Cmos, time: FakeTime, line: Recorder) -> None:
    time.advance(2 * NS_PER_S)
    assert rtc.get(C) == 0x50, "update and periodic, no interrupt"
    assert rtc.get(C) == 0
    assert line.edges == 0
    time.advance(2_000_000)
    assert rtc.get(C) == 0x40


def test_enabling_with_the_flag_up_interrupts_at_once(rtc: Cmos, time: FakeTime, line: Recorder) -> None:
    time.advance(NS_PER_S)
    rtc.put(B, UIE | H24)
    assert line.level


def test_alarm_with_wildcards(rtc: Cmos, time: FakeTime, line: Recorder) -> None:
    rtc.put(SEC_ALARM, 0x03)
    rtc.put(MIN_ALARM, 0xC0)
    rtc.put(HOUR_ALARM, 0xFF)
    rtc.put(B, AIE | H24)
    time.advance(4 * NS_PER_S)
    assert not line.level
    time.advance(NS_PER_S)
    assert line.level
    assert rtc.get(C) & 0x20
    time.advance(60 * NS_PER_S)
    assert line.edges == 2
    rtc.get(C)
    rtc.put(HOUR_ALARM, 0x05)
    time.advance(120 * NS_PER_S)
    assert line.edges == 2


def test_with_its_interrupts_off_it_wakes_nobody(rtc: Cmos, time: FakeTime) -> None:
    rtc.put(SEC_ALARM, 0x02)
    rtc.put(MIN_ALARM, 0x50)
    rtc.put(HOUR_ALARM, 0x13)
    assert time.clock.next_deadline_ns() is None
    time.advance(240 * NS_PER_S)
    assert rtc.get(C) & 0x30 == 0x10, "13:49:58"
    time.advance(10 * NS_PER_S)
    rtc.put(MIN_ALARM, 0xFF)
    rtc.put(HOUR_ALARM, 0x99)
    assert rtc.get(C) & 0x30 == 0x30, "it was the alarm's second once"
    time.advance(100_000 * NS_PER_S)
    assert rtc.get(C) & 0x30 == 0x10
    rtc.put(B, SET | H24)
    time.advance(NS_PER_S)
    assert rtc.get(C) & 0x30 == 0, "it stands still"


@pytest.mark.parametrize(("rate", "hz"), [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)])
def test_periodic_interrupt(rtc: Cmos, time: FakeTime, line: Recorder, rate: int, hz: int) -> None:
    rtc.put(A, 0x20 | rate)
    rtc.put(B, PIE | H24)
    count, tick = 0, NS_PER_S // (4 * hz)
    for _ in range(4 * hz // 2):
        time.advance(tick)
        count += rtc.get(C) >> 6 & 1
    assert count == pytest.approx(hz / 2, abs=2)
    rtc.put(A, 0x20)
    rtc.get(C)
    time.advance(NS_PER_S // 2)
    assert not rtc.get(C) & 0x40


def test_memory_size_cells(rtc: Cmos) -> None:
    rtc.set_memory_size(3 * GIB, 2 * GIB)
    rtc.set_cpu_count(4)
    assert rtc.get(0x15) | rtc.get(0x16) << 8 == 640
    assert rtc.get(0x17) | rtc.get(0x18) << 8 == 0xFFFF
    assert rtc.get(0x30) | rtc.get(0x31) << 8 == 0xFFFF
    assert rtc.get(0x34) | rtc.get(0x35) << 8 == (3 * GIB - 16 * MIB) >> 16
    assert rtc.get(0x5B) | rtc.get(0x5C) << 8 | rtc.get(0x5D) << 16 == 2 * GIB >> 16
    assert rtc.get(0x5F) == 3
    rtc.set_memory_size(8 * MIB, 0)
    assert rtc.get(0x30) | rtc.get(0x31) << 8 == 7 * 1024
    assert rtc.get(0x34) | rtc.get(0x35) << 8 == 0


def test_ram_index_and_read_only_registers(rtc: Cmos) -> None:
    rtc.put(0x80 | 0x40, 0x5A)
    assert rtc.get(0x40) == 0x5A
    assert rtc.read(0, 1) == 0xFF
    rtc.put(D, 0)
    assert rtc.get(D) == 0x80
    rtc.put(C, 0xFF)
    assert rtc.get(C) == 0
    rtc.put(A, 0xA6)
    assert rtc.get(A) == 0x26


def test_reset_keeps_the_calendar_and_stops_interrupts(rtc: Cmos, time: FakeTime, line: Recorder) -> None:
    rtc.put(YEAR, 0x30)
    rtc.put(0x40, 7)
    rtc.put(B, UIE | PIE | H24)
    time.advance(NS_PER_S)
    rtc.reset()
    assert not line.level
    assert rtc.get(B) == H24
    assert (rtc.get(YEAR), rtc.get(0x40)) == (0x30, 7)


def test_save_and_restore(rtc: Cmos, time: FakeTime) -> None:
    rtc.put(YEAR, 0x31)
    rtc.put(B, PIE | H24)
    time.advance(NS_PER_S)
    line = Recorder()
    other = Cmos(time, line)
    other.restore(rtc.save())
    assert other.save() == rtc.save()
    assert line.level
    assert other.now() == rtc.now()
    other.get(C)
    time.advance(NS_PER_S // 10)
    assert line.level
