"""ACPI's fixed registers, and the ways to reset."""

from __future__ import annotations

import pytest
from fake_time import FakeTime, Recorder

from ringfence.devices.legacy.acpi_pm import SLP_TYP_S5, TIMER_HZ, AcpiPm
from ringfence.devices.legacy.reset_control import FastA20, ResetControl
from ringfence.units import NS_PER_S

STATUS, ENABLE, CONTROL, TIMER, GPE0 = 0, 2, 4, 8, 0x20
HALF_NS = -(-(1 << 31) * NS_PER_S // TIMER_HZ)


class Registers(AcpiPm):
    def __init__(self, time: FakeTime, sci: Recorder) -> None:
        self.offs: list[int] = []
        super().__init__(time.clock, sci, lambda: self.offs.append(1))

    def get(self, register: int) -> int:
        return self.read(register, 2)

    def put(self, register: int, value: int) -> None:
        self.write(register, 2, value)


@pytest.fixture
def pm(time: FakeTime, line: Recorder) -> Registers:
    return Registers(time, line)


def test_the_timer_counts_at_its_frequency(pm: Registers, time: FakeTime) -> None:
    time.advance(NS_PER_S)
    assert pm.read(TIMER, 4) == TIMER_HZ
    assert pm.read(TIMER + 2, 1) == TIMER_HZ >> 16 & 0xFF
    time.advance(2000 * NS_PER_S)
    assert pm.read(TIMER, 4) == 2001 * TIMER_HZ & 0xFFFF_FFFF


def test_the_timers_top_bit_interrupts_when_enabled(pm: Registers, time: FakeTime, line: Recorder) -> None:
    time.advance(HALF_NS)
    assert pm.get(STATUS) == 1
    assert not line.level
    pm.put(STATUS, 1)
    assert pm.get(STATUS) == 0
    pm.put(ENABLE, 1)
    time.advance(HALF_NS)
    assert line.level
    pm.put(STATUS, 1)
    assert not line.level


def test_the_power_button(pm: Registers, line: Recorder) -> None:
    pm.press_power_button()
    assert not line.level
    pm.put(ENABLE, 1 << 8)
    assert line.level
    assert pm.get(STATUS) == 1 << 8
    pm.put(STATUS, 0x00FF)
    assert line.level
    pm.put(STATUS, 1 << 8)
    assert not line.level


def test_enable_has_only_its_events(pm: Registers) -> None:
    pm.put(ENABLE, 0xFFFF)
    assert pm.get(ENABLE) == 0x0521


def test_power_off(pm: Registers) -> None:
    assert pm.get(CONTROL) == 1, "ACPI mode is always on"
    pm.put(CONTROL, SLP_TYP_S5 << 10)
    assert not pm.offs
    pm.put(CONTROL, 3 << 10 | 1 << 13)
    assert not pm.offs, "another sleep state"
    pm.put(CONTROL, SLP_TYP_S5 << 10 | 1 << 13)
    assert len(pm.offs) == 1
    assert pm.get(CONTROL) & 1 << 13 == 0, "SLP_EN reads as 0"


def test_gpe0_is_empty(pm: Registers) -> None:
    pm.write(GPE0, 4, 0xFFFF_FFFF)
    assert pm.read(GPE0, 4) == 0


def test_save_and_restore(pm: Registers, time: FakeTime) -> None:
    pm.put(ENABLE, 1 << 8 | 1)
    pm.press_power_button()
    line = Recorder()
    other = Registers(time, line)
    other.restore(pm.save())
    assert other.save() == pm.save()
    assert line.level
    other.put(STATUS, 1 << 8)
    time.advance(HALF_NS)
    assert line.level
    pm.reset()
    assert (pm.get(ENABLE), pm.get(STATUS)) == (0, 0)


def test_the_reset_register_wants_a_rising_bit() -> None:
    resets: list[int] = []
    control = ResetControl(lambda: resets.append(1))
    control.write(0, 1, 0x02)
    assert not resets
    control.write(0, 1, 0x06)
    control.write(0, 1, 0x06)
    assert len(resets) == 1
    assert control.read(0, 1) == 0x06
    control.write(0, 1, 0x00)
    control.write(0, 1, 0x0E)
    assert len(resets) == 2
    control.reset()
    assert control.read(0, 1) == 0


def test_port_92() -> None:
    resets: list[int] = []
    port = FastA20(lambda: resets.append(1))
    assert port.read(0, 1) == 2
    port.write(0, 1, 0)
    assert port.read(0, 1) == 0
    port.write(0, 1, 3)
    port.write(0, 1, 3)
    assert len(resets) == 1
