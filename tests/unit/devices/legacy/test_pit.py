"""The 8254: modes, reading back, and counter 0's interrupts."""

from __future__ import annotations

import pytest
from fake_time import FakeTime, Recorder

from ringfence.devices.legacy.pit import INPUT_HZ, Pit
from ringfence.units import NS_PER_S


class Timer(Pit):
    def __init__(self, time: FakeTime, line: Recorder) -> None:
        super().__init__(time.clock, line)
        self.time = time

    def load(self, control: int, count: int) -> None:
        """A control word with both-byte access, and the count."""
        channel = control >> 6
        self.write(3, 1, control)
        self.write(channel, 1, count & 0xFF)
        self.write(channel, 1, count >> 8)

    def pulses(self, n: float) -> None:
        self.time.advance(round(n * NS_PER_S / INPUT_HZ))

    def value(self, channel: int) -> int:
        self.write(3, 1, channel << 6)
        return self.read(channel, 1) | self.read(channel, 1) << 8

    def out(self, channel: int) -> bool:
        self.write(3, 1, 0xE0 | 2 << channel)
        return bool(self.read(channel, 1) & 0x80)


@pytest.fixture
def pit(time: FakeTime, line: Recorder) -> Timer:
    return Timer(time, line)


def test_mode_2_interrupts_at_its_rate(pit: Timer, time: FakeTime, line: Recorder) -> None:
    pit.load(0x34, 11932)
    before = line.edges
    time.advance(NS_PER_S)
    assert line.edges - before == 99
    assert line.level


def test_a_count_of_zero_is_65536(pit: Timer, time: FakeTime, line: Recorder) -> None:
    pit.load(0x36, 0)
    before = line.edges
    time.advance(NS_PER_S)
    assert line.edges - before == 18


def test_mode_0_interrupts_once(pit: Timer, line: Recorder) -> None:
    pit.load(0x30, 1000)
    assert not line.level
    pit.pulses(999)
    assert not line.level
    assert not pit.out(0)
    pit.pulses(2)
    assert (line.level, line.edges) == (True, 1)
    assert pit.out(0)
    pit.pulses(200_000)
    assert line.edges == 1
    pit.load(0x30, 10)
    assert not line.level
    pit.pulses(11)
    assert line.edges == 2


def test_mode_4_strobes_once(pit: Timer, line: Recorder) -> None:
    pit.load(0x38, 500)
    before = line.edges
    pit.pulses(502)
    assert line.edges == before + 1
    pit.pulses(100_000)
    assert line.edges == before + 1


def test_the_output_of_modes_2_and_3(pit: Timer) -> None:
    pit.load(0x74, 10)
    pit.pulses(8.5)
    assert pit.out(1)
    pit.pulses(1)
    assert not pit.out(1), "low for the last pulse"
    pit.load(0x76, 5)
    levels = []
    pit.pulses(0.5)
    for _ in range(10):
        levels.append(pit.out(1))
        pit.pulses(1)
    assert levels == [True, True, True, False, False] * 2, "an odd count is high one pulse longer"


def test_counting_down_and_latching(pit: Timer) -> None:
    pit.load(0x74, 1000)
    pit.pulses(100.5)
    assert pit.value(1) == 900
    pit.write(3, 1, 0x40)
    pit.pulses(300)
    pit.write(3, 1, 0x40)
    assert pit.read(1, 1) | pit.read(1, 1) << 8 == 900, "a second latch waits for the first to be read"
    assert pit.value(1) == 600


def test_mode_3_counts_by_two(pit: Timer) -> None:
    pit.load(0x76, 1000)
    pit.pulses(100.5)
    assert pit.value(1) == 800
    pit.pulses(500)
    assert pit.value(1) == 800, "two counts a period"


def test_mode_0_goes_on_below_zero(pit: Timer) -> None:
    pit.load(0x70, 100)
    pit.pulses(110.5)
    assert pit.value(1) == 0xFFF6


def test_bcd(pit: Timer) -> None:
    pit.load(0x75, 0x1000)
    pit.pulses(1.5)
    assert pit.value(1) == 0x0999
    pit.load(0x71, 0)
    pit.pulses(0.5)
    assert pit.value(1) == 0, "10000 reads as 0000"
    pit.pulses(1)
    assert pit.value(1) == 0x9999


def test_single_byte_access(pit: Timer) -> None:
    pit.write(3, 1, 0x54)
    pit.write(1, 1, 200)
    pit.pulses(50.5)
    assert pit.read(1, 1) == 150
    pit.write(3, 1, 0x64)
    pit.write(1, 1, 0x12)
    pit.pulses(0.5)
    assert pit.read(1, 1) == 0x12


def test_read_back_status_before_count(pit: Timer) -> None:
    pit.write(3, 1, 0x7A)
    pit.write(3, 1, 0xC4)  # both, of counter 1
    status = pit.read(1, 1)
    assert status & 0x3F == 0x3A
    assert status & 0x40, "control word written, no count yet"
    pit.load(0x74, 0x1234)
    pit.write(3, 1, 0xC4)
    assert pit.read(1, 1) & 0x7F == 0x34
    assert pit.read(1, 1) | pit.read(1, 1) << 8 == 0x1234


def test_counter_2_waits_for_its_gate(pit: Timer) -> None:
    pit.write(4, 1, 0)
    pit.load(0xB0, 1000)
    pit.pulses(5000)
    assert pit.value(2) == 1000
    assert not pit.read(4, 1) & 0x20
    pit.write(4, 1, 1)
    pit.pulses(400)
    pit.write(4, 1, 0)
    pit.pulses(5000)
    assert pit.value(2) == pytest.approx(600, abs=1)
    pit.write(4, 1, 1)
    pit.pulses(598)
    assert not pit.read(4, 1) & 0x20
    pit.pulses(5)
    assert pit.read(4, 1) & 0x20


def test_mode_1_is_triggered_by_the_gate(pit: Timer) -> None:
    pit.load(0xB2, 100)
    pit.pulses(500)
    assert pit.out(2)
    pit.write(4, 1, 1)
    pit.pulses(50)
    assert not pit.out(2)
    pit.write(4, 1, 0)
    pit.write(4, 1, 1)  # retriggered
    pit.pulses(70)
    assert not pit.out(2)
    pit.pulses(31)
    assert pit.out(2)


def test_mode_3_restarts_with_the_gate(pit: Timer) -> None:
    pit.write(4, 1, 1)
    pit.load(0xB6, 1000)
    pit.pulses(700)
    assert not pit.out(2)
    pit.write(4, 1, 0)
    assert pit.out(2)
    pit.write(4, 1, 1)
    pit.pulses(10)
    assert pit.value(2) == pytest.approx(980, abs=2)


def test_port_61(pit: Timer, time: FakeTime) -> None:
    pit.write(4, 1, 0xFF)
    assert pit.read(4, 1) & 0xCF == 0x0F
    toggles = set()
    for _ in range(4):
        toggles.add(pit.read(4, 1) & 0x10)
        time.advance(15_085)
    assert toggles == {0, 0x10}


def test_a_guest_can_not_storm_the_host(pit: Timer, time: FakeTime, line: Recorder) -> None:
    for count in (1, 2):
        pit.load(0x34, count)
        before = line.edges
        time.advance(NS_PER_S // 100)
        assert line.edges - before <= 201


def test_a_new_control_word_stops_the_interrupts(pit: Timer, time: FakeTime, line: Recorder) -> None:
    pit.load(0x34, 1000)
    pit.write(3, 1, 0x34)
    before = line.edges
    time.advance(NS_PER_S)
    assert line.edges == before


def test_every_control_word_and_count_is_survived(pit: Timer) -> None:
    for control in range(256):
        pit.write(3, 1, control)
        for channel in range(3):
            for value in (0, 1, 0xFF):
                pit.write(channel, 1, value)
                assert 0 <= pit.read(channel, 1) <= 0xFF
        pit.write(4, 1, control)
        pit.pulses(3)


def test_save_and_restore(pit: Timer, time: FakeTime, line: Recorder) -> None:
    pit.load(0x34, 11932)
    pit.load(0x70, 5000)
    pit.pulses(100)
    edges = Recorder()
    other = Timer(time, edges)
    other.restore(pit.save())
    assert other.save() == pit.save()
    assert other.value(1) == pit.value(1)
    before = (line.edges, edges.edges)
    time.advance(NS_PER_S)
    assert line.edges - before[0] == edges.edges - before[1] > 90
    pit.reset()
    assert not line.level
