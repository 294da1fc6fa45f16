"""The high-precision event timers: Intel IA-PC HPET specification 1.0a, chapter 2.

One 64-bit counter at 100 MHz, three timers. Interrupts go to the I/O APIC's pins or, in legacy
replacement, in place of the PIT's and the RTC's; none are written to memory (FSB).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ringfence.devices.clock import MIN_PERIOD_NS, Clock
from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import restore_fields, save_fields

TICK_NS = 10
TIMERS = 3
FEMTOSECONDS_PER_NS = 1_000_000
CAPABILITIES = TICK_NS * FEMTOSECONDS_PER_NS << 32 | 0x8086_A201

REG_CAPABILITIES, REG_CONFIG, REG_STATUS, REG_COUNTER, REG_TIMERS = 0x00, 0x10, 0x20, 0xF0, 0x100
TIMER_BYTES, TIMER_CONFIG, TIMER_COMPARATOR = 0x20, 0x00, 0x08
CONFIG_ENABLE, CONFIG_LEGACY = 1, 2

T_LEVEL, T_ENABLE, T_PERIODIC, T_SET_VALUE, T_32BIT = 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 8
T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_32BIT | 0x1F << 9
T_CAN_PERIODIC, T_IS_64BIT, T_PINS_SHIFT = 1 << 4, 1 << 5, 32

ALL_64 = (1 << 64) - 1
_STATE = ("config", "comparator", "period", "is_writing_both")


class Timer:
    """One comparator and what it is set to."""

    def __init__(self, capabilities: int) -> None:
        self.config = capabilities
        self.comparator = ALL_64
        self.period = 0
        #: VAL_SET: the next write of the comparator sets the value, not only the period
        self.is_writing_both = False

    @property
    def mask(self) -> int:
        return 0xFFFF_FFFF if self.config & T_32BIT else ALL_64


class Hpet:
    """The register block.

    ``lines`` lead to the I/O APIC's pins of these numbers. ``timer_line`` and ``rtc_line`` lead to IRQ 0
    and IRQ 8: the PIT's and the RTC's own lines, `pit_line` and `rtc_line`, end here and are passed on
    unless legacy replacement cuts them.
    """

    def __init__(
        self,
        clock: Clock,
        lines: Mapping[int, Line],
        timer_line: Line,
        rtc_line: Line,
        name: str = "hpet",
    ) -> None:
        self.name = name
        self._clock = clock
        self._lines = lines
        self._legacy_lines = (timer_line, rtc_line)
        self.pit_line = Line(partial(self._legacy_input, timer_line))
        self.rtc_line = Line(partial(self._legacy_input, rtc_line))
        self._alarms = [clock.alarm(partial(self._fire, index)) for index in range(TIMERS)]
        #: next match of a timer whose interrupt is off, in guest time
        self._unheard: list[int | None] = [None] * TIMERS
        self._capabilities = T_CAN_PERIODIC | T_IS_64BIT | sum(1 << T_PINS_SHIFT + pin for pin in lines)
        self.timers = [Timer(self._capabilities) for _ in range(TIMERS)]
        self.config = self.status = 0
        #: the counter while halted; while running, what it is ahead of the clock
        self.count = 0

    def reset(self) -> None:
        for index in range(TIMERS):
            self._lower(index)
            self._alarms[index].cancel()
        self.timers = [Timer(self._capabilities) for _ in range(TIMERS)]
        self.config = self.status = self.count = 0
        self._pass_on_legacy()

    @property
    def is_running(self) -> bool:
        return bool(self.config & CONFIG_ENABLE)

    def counter(self) -> int:
        if not self.is_running:
            return self.count
        return self._clock.now_ns() // TICK_NS + self.count & ALL_64

    # registers: 64 bits each, also read and written by halves

    def read(self, offset: int, size_bytes: int) -> int:
        value = self._read_register(offset & ~7)
        return value >> 8 * (offset & 7) & (1 << 8 * size_bytes) - 1

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        register = offset & ~7
        shift = 8 * (offset & 7)
        mask = ((1 << 8 * size_bytes) - 1 << shift) & ALL_64
        self._write_register(register, value << shift & mask, mask)

    def _read_register(self, register: int) -> int:
        if register == REG_CAPABILITIES:
            return CAPABILITIES
        if register == REG_CONFIG:
            return self.config
        if register == REG_STATUS:
            return self.status
        if register == REG_COUNTER:
            return self.counter()
        index, field = divmod(register - REG_TIMERS, TIMER_BYTES)
        if 0 <= index < TIMERS:
            if field == TIMER_CONFIG:
                return self.timers[index].config
            if field == TIMER_COMPARATOR:
                self._catch_up(index)
                return self.timers[index].comparator
        return 0

    def _write_register(self, register: int, value: int, mask: int) -> None:
        """Change the bits in ``mask``."""
        if register == REG_CONFIG:
            self._write_config(self.config & ~mask | value)
        elif register == REG_STATUS:
            self._write_status(value)
        elif register == REG_COUNTER:
            if not self.is_running:
                self.count = self.count & ~mask | value
        else:
            index, field = divmod(register - REG_TIMERS, TIMER_BYTES)
            if 0 <= index < TIMERS and field == TIMER_CONFIG:
                self._write_timer_config(index, self.timers[index].config & ~mask | value)
            elif 0 <= index < TIMERS and field == TIMER_COMPARATOR:
                self._write_comparator(index, value, mask)

    def _write_config(self, value: int) -> None:
        for index in range(TIMERS):
            self._catch_up(index)
        changed = (self.config ^ value) & (CONFIG_ENABLE | CONFIG_LEGACY)
        if changed & CONFIG_ENABLE:
            now = self._clock.now_ns() // TICK_NS
            self.count = (self.count + (-now if value & CONFIG_ENABLE else now)) & ALL_64
        if changed & CONFIG_LEGACY:
            for index in range(2):
                self._lower(index)
        self.config ^= changed
        if changed & CONFIG_LEGACY:
            self._pass_on_legacy()
        for index in range(TIMERS):
            self._set_alarm(index)

    def _write_status(self, value: int) -> None:
        """Writing 1 acknowledges a level-triggered interrupt."""
        for index in range(TIMERS):
            if value & self.status & 1 << index:
                self._lower(index)

    def _write_timer_config(self, index: int, value: int) -> None:
        timer = self.timers[index]
        self._catch_up(index)
        self._lower(index)
        timer.config = self._capabilities | value & T_WRITABLE
        timer.is_writing_both = bool(value & T_SET_VALUE)
        if timer.config & T_32BIT:
            timer.comparator &= timer.mask
            timer.period &= timer.mask
        self._set_alarm(index)

    def _write_comparator(self, index: int, value: int, mask: int) -> None:
        timer = self.timers[index]
        mask &= timer.mask
        value &= mask
        if not timer.config & T_PERIODIC or timer.is_writing_both:
            timer.comparator = timer.comparator & ~mask | value
        if timer.config & T_PERIODIC:
            timer.period = timer.period & ~mask | value
        if mask >> 32 or timer.config & T_32BIT:
            timer.is_writing_both = False  # the upper half is the last one written
        self._set_alarm(index)

    # time and interrupts

    def _set_alarm(self, index: int) -> None:
        timer = self.timers[index]
        self._unheard[index] = None
        self._alarms[index].cancel()
        if not self.is_running:
            return
        ticks = (timer.comparator - self.counter() - 1 & timer.mask) + 1
        deadline = (self._clock.now_ns() // TICK_NS + ticks) * TICK_NS
        if timer.config & T_PERIODIC:
            deadline = max(deadline, self._clock.now_ns() + MIN_PERIOD_NS)
        if timer.config & T_ENABLE:
            self._alarms[index].set(deadline)
        else:
            self._unheard[index] = deadline  # an idle guest is not woken for it

    def _fire(self, index: int) -> None:
        self._advance(index)
        if self.timers[index].config & T_ENABLE:
            self._raise(index)
        self._set_alarm(index)

    def _catch_up(self, index: int) -> None:
        """Do what a timer that nobody hears of should have done by now."""
        deadline = self._unheard[index]
        if deadline is not None and deadline <= self._clock.now_ns():
            self._fire(index)

    def _advance(self, index: int) -> None:
        """Bring a periodic timer's comparator to the next match, however many have been missed."""
        timer = self.timers[index]
        if timer.config & T_PERIODIC and timer.period:
            behind = self.counter() - timer.comparator & timer.mask
            periods = behind // timer.period + 1
            timer.comparator = timer.comparator + periods * timer.period & timer.mask

    def _line(self, index: int) -> Line | None:
        if self.config & CONFIG_LEGACY and index < 2:
            return self._legacy_lines[index]
        return self._lines.get(self.timers[index].config >> 9 & 0x1F)

    def _raise(self, index: int) -> None:
        line = self._line(index)
        if self.timers[index].config & T_LEVEL:
            self.status |= 1 << index
            if line is not None:
                line.raise_()
        elif line is not None:
            line.pulse()

    def _lower(self, index: int) -> None:
        """Take back a level-triggered interrupt, before its line or mode changes."""
        if self.status & 1 << index:
            self.status &= ~(1 << index)
            line = self._line(index)
            if line is not None:
                line.lower()

    def _legacy_input(self, wire: Line, level: bool) -> None:
        if not self.config & CONFIG_LEGACY:
            wire.set(level)

    def _pass_on_legacy(self) -> None:
        """Cut the older timers off, or connect them again."""
        self._cut_or_mend()
        for line, wire in zip((self.pit_line, self.rtc_line), self._legacy_lines, strict=True):
            wire.set(line.level and line.is_heard)

    def _cut_or_mend(self) -> None:
        for line in (self.pit_line, self.rtc_line):
            line.hear(not self.config & CONFIG_LEGACY)

    def save(self) -> Record:
        for index in range(TIMERS):
            self._catch_up(index)
        timers = [save_fields(timer, _STATE) for timer in self.timers]
        return save_fields(self, ("config", "status", "count")) | {"timers": timers}

    def restore(self, record: Record) -> None:
        restore_fields(self, record, ("config", "status", "count"))
        for timer, saved in zip(self.timers, record["timers"], strict=True):
            restore_fields(timer, saved, _STATE)
        self._cut_or_mend()
        for index in range(TIMERS):
            self._set_alarm(index)
            if self.status & 1 << index:
                self._raise(index)
