"""ACPI's fixed hardware: ACPI 6.4, section 4.8. PM1a event and control, PM timer, GPE block 0.

The board's tables give no SMI command port, so ACPI mode is always on. There is nothing to
sleep in: S5 alone is acted upon.
"""

from __future__ import annotations

from collections.abc import Callable

from ringfence.devices.clock import Clock
from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters
from ringfence.units import NS_PER_S

TIMER_HZ = 3_579_545
#: SLP_TYPa of \\_S5 in the board's DSDT: QEMU's number, which small kernels write without asking ACPI.
SLP_TYP_S5 = 0

PM1_STATUS, PM1_ENABLE, PM1_CONTROL, PM_TIMER, GPE0 = 0x00, 0x02, 0x04, 0x08, 0x20
STATUS_TIMER, STATUS_GLOBAL, STATUS_POWER_BUTTON, STATUS_RTC = 1 << 0, 1 << 5, 1 << 8, 1 << 10
#: The clock never wakes a machine that does not sleep, yet systems insist on enabling its event.
STATUS_MASK = STATUS_TIMER | STATUS_GLOBAL | STATUS_POWER_BUTTON | STATUS_RTC
CONTROL_SCI_EN, CONTROL_BM_RLD, CONTROL_SLP_EN = 1 << 0, 1 << 1, 1 << 13
CONTROL_WRITABLE = CONTROL_BM_RLD | 7 << 10


class AcpiPm(ByteRegisters):
    """PM1 status at offset 0, enable at 2, control at 4, timer at 8 (32 bits), GPE0 at 0x20."""

    STATE = ("status", "enable", "control", "half_periods")

    def __init__(
        self,
        clock: Clock,
        sci: Line,
        on_power_off: Callable[[], object],
        s5_type: int = SLP_TYP_S5,
        name: str = "acpi-pm",
    ) -> None:
        self.name = name
        self._clock = clock
        self.sci = sci
        self._on_power_off = on_power_off
        self._s5_type = s5_type
        self._overflow = clock.alarm(self._update)
        self.reset()

    def reset(self) -> None:
        self.status = self.enable = 0
        self.control = CONTROL_SCI_EN
        #: how often the timer's top bit had changed when it was last looked at
        self.half_periods = self._ticks() >> 31
        self._update()

    def press_power_button(self) -> None:
        """Ask the guest to shut itself down."""
        self.status |= STATUS_POWER_BUTTON
        self._update()

    def _ticks(self) -> int:
        return self._clock.now_ns() * TIMER_HZ // NS_PER_S

    def read(self, offset: int, size_bytes: int) -> int:
        if offset == PM_TIMER and size_bytes == 4:
            return self._ticks() & 0xFFFF_FFFF
        return super().read(offset, size_bytes)

    def read_byte(self, offset: int) -> int:
        shift = 8 * (offset & 1)
        if offset < PM1_ENABLE:
            self._update()
            return self.status >> shift & 0xFF
        if offset < PM1_CONTROL:
            return self.enable >> shift & 0xFF
        if offset < PM1_CONTROL + 2:
            return self.control >> shift & 0xFF
        if PM_TIMER <= offset < PM_TIMER + 4:
            return self._ticks() >> 8 * (offset & 3) & 0xFF
        return 0  # GPE0: no events

    def write_byte(self, offset: int, value: int) -> None:
        shift = 8 * (offset & 1)
        if offset < PM1_ENABLE:
            self._update()
            self.status &= ~(value << shift)
            self._update()
        elif offset < PM1_CONTROL:
            self.enable = (self.enable & ~(0xFF << shift) | value << shift) & STATUS_MASK
            self._update()
        elif offset < PM1_CONTROL + 2:
            self._write_control(self.control & ~(0xFF << shift) | value << shift)

    def _write_control(self, value: int) -> None:
        self.control = value & CONTROL_WRITABLE | CONTROL_SCI_EN
        if value & CONTROL_SLP_EN and value >> 10 & 7 == self._s5_type:
            self._on_power_off()

    def _update(self) -> None:
        """See whether the timer's top bit has changed; set the line and the next alarm."""
        half_periods = self._ticks() >> 31
        if half_periods != self.half_periods:
            self.half_periods = half_periods
            self.status |= STATUS_TIMER
        if self.enable & STATUS_TIMER:
            change = (half_periods + 1) << 31
            self._overflow.set(-(-change * NS_PER_S // TIMER_HZ))
        else:
            self._overflow.cancel()
        self.sci.set(bool(self.status & self.enable))

    def restore(self, record: Record) -> None:
        super().restore(record)
        self._update()
