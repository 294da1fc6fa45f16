"""The real-time clock and CMOS RAM: Motorola MC146818A data sheet, "Registers".

The calendar runs on the host's UTC plus what the guest set it apart by; the update cycle, the
alarm and the periodic interrupt come from the virtual machine's clock. With their interrupts off
they wake nobody: the flags are worked out when somebody looks.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable

from ringfence.devices.clock import Clock
from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters
from ringfence.devices.legacy.ticker import Ticker
from ringfence.units import GIB, KIB, MIB, NS_PER_S

SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR = 0, 2, 4, 6, 7, 8, 9
REG_A, REG_B, REG_C, REG_D, CENTURY = 0x0A, 0x0B, 0x0C, 0x0D, 0x32
EQUIPMENT, CPU_COUNT = 0x14, 0x5F
TIME_REGISTERS = (SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY)
#: Bytes that are compared with the time's seconds, minutes and hours.
ALARMS = (1, 3, 5)

A_UIP, A_DIVIDER, A_DIVIDER_NORMAL, A_RATE = 0x80, 0x70, 0x20, 0x0F
B_SET, B_PIE, B_AIE, B_UIE, B_SQWE, B_BINARY, B_24H = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
C_IRQ, C_PERIODIC, C_ALARM, C_UPDATE = 0x80, 0x40, 0x20, 0x10
D_VALID = 0x80

PM = 0x80
DAY_S = 86_400
CRYSTAL_HZ = 32768
#: UIP is up 244 us before an update of 1984 us, which ends with the second.
UPDATE_NS = 244_000 + 1_984_000


class Rtc(ByteRegisters):
    """Index at offset 0, data at offset 1; ``line`` is the alarm, update and periodic interrupt."""

    STATE = ("index", "offset_s", "periodic_seen")

    def __init__(
        self, clock: Clock, line: Line, wall_ns: Callable[[], int] = time.time_ns, name: str = "rtc"
    ) -> None:
        self.name = name
        self._clock = clock
        self._wall_ns = wall_ns
        self.line = line
        self.index = 0
        #: guest's calendar less the host's, which the guest may set
        self.offset_s = 0
        self.periodic_seen = 0
        self.cmos = bytearray(128)
        self.cmos[REG_A] = A_DIVIDER_NORMAL | 6
        self.cmos[REG_B] = B_24H
        self.cmos[REG_D] = D_VALID
        self.cmos[EQUIPMENT] = 0x06  # coprocessor and pointing device
        self._ticker = Ticker(clock, lambda: self._flag(C_PERIODIC))
        self._second = clock.alarm(self._update)
        #: the calendar's second whose update cycle was the last one done
        self._updated_s = self._calendar_s()
        self._set_second()

    def reset(self) -> None:
        """The RESET pin: interrupts off. Calendar, rates and RAM are kept by the battery."""
        self.cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE)
        self.cmos[REG_C] = 0
        self.line.lower()
        self._set_periodic()

    def set_memory_size(self, below_4g_bytes: int, above_4g_bytes: int) -> None:
        """The cells from which firmware and old systems learn how much RAM there is."""
        extended_kib = min(max(below_4g_bytes - MIB, 0) // KIB, 0xFFFF)
        above_16m = min(max(below_4g_bytes - 16 * MIB, 0) // (64 * KIB), 0xFFFF)
        above_4g = min(above_4g_bytes, 256 * 4 * GIB) // (64 * KIB)
        for at, size, value in (
            (0x15, 2, min(below_4g_bytes // KIB, 640)),
            (0x17, 2, extended_kib),
            (0x30, 2, extended_kib),
            (0x34, 2, above_16m),
            (0x5B, 3, min(above_4g, 0xFFFFFF)),
        ):
            self.cmos[at : at + size] = value.to_bytes(size, "little")

    def set_cpu_count(self, count: int) -> None:
        self.cmos[CPU_COUNT] = (count - 1) & 0xFF

    def read_byte(self, offset: int) -> int:
        if offset == 0:
            return 0xFF  # the index is write-only
        index = self.index
        if index in TIME_REGISTERS:
            if self._is_running():
                self._show_time()
            return self.cmos[index]
        if index == REG_A:
            return self.cmos[REG_A] | (A_UIP if self._is_updating() else 0)
        if index == REG_C:
            return self._read_c()
        return self.cmos[index]

    def write_byte(self, offset: int, value: int) -> None:
        if offset == 0:
            self.index = value & 0x7F  # bit 7 masks NMI on a PC's board; there is none to mask
        elif self.index in TIME_REGISTERS:
            self._write_time(value)
        elif self.index == REG_A:
            self._change_mode(REG_A, value & ~A_UIP)
            self._set_periodic()
        elif self.index == REG_B:
            self._change_mode(REG_B, value)
            self._set_periodic()
            self._update_line()
        elif self.index not in (REG_C, REG_D):
            self._update()  # with the alarm of before
            self.cmos[self.index] = value

    # calendar

    def _now_ns(self) -> int:
        return self._wall_ns() + self.offset_s * NS_PER_S

    def _calendar_s(self) -> int:
        return self._now_ns() // NS_PER_S

    def _is_running(self) -> bool:
        divider = self.cmos[REG_A] & A_DIVIDER
        return not self.cmos[REG_B] & B_SET and divider == A_DIVIDER_NORMAL

    def _is_updating(self) -> bool:
        return self._is_running() and self._now_ns() % NS_PER_S >= NS_PER_S - UPDATE_NS

    def _encode(self, value: int) -> int:
        return value if self.cmos[REG_B] & B_BINARY else value // 10 << 4 | value % 10

    def _encode_hour(self, hour: int) -> int:
        if self.cmos[REG_B] & B_24H:
            return self._encode(hour)
        return self._encode((hour + 11) % 12 + 1) | (PM if hour >= 12 else 0)

    def _decode(self, value: int) -> int:
        return value if self.cmos[REG_B] & B_BINARY else (value >> 4) * 10 + (value & 0x0F)

    def _show_time(self) -> None:
        """The calendar of now, in the guest's chosen format, into the time registers."""
        now = time.gmtime(self._calendar_s())
        weekday = (now.tm_wday + 1) % 7 + 1  # Sunday is 1
        for register, value in (
            (SECONDS, now.tm_sec),
            (MINUTES, now.tm_min),
            (WEEKDAY, weekday),
            (DAY, now.tm_mday),
            (MONTH, now.tm_mon),
            (YEAR, now.tm_year % 100),
            (CENTURY, now.tm_year // 100 % 100),
        ):
            self.cmos[register] = self._encode(value)
        self.cmos[HOURS] = self._encode_hour(now.tm_hour)

    def _write_time(self, value: int) -> None:
        if self._is_running():
            self._update()
            self._show_time()
            self.cmos[self.index] = value
            self._set_calendar()
        else:
            self.cmos[self.index] = value

    def _set_calendar(self) -> None:
        """Run on from what the time registers hold; nonsense becomes the nearest real date."""
        hours = self._decode(self.cmos[HOURS] & ~PM)
        if self.cmos[REG_B] & B_24H:
            hours = self._decode(self.cmos[HOURS])
        else:
            hours = hours % 12 + (12 if self.cmos[HOURS] & PM else 0)
        year = self._decode(self.cmos[CENTURY]) * 100 + self._decode(self.cmos[YEAR])
        seconds = calendar.timegm(
            (
                min(max(year, 1), 9998),
                min(max(self._decode(self.cmos[MONTH]), 1), 12),
                self._decode(self.cmos[DAY]),
                hours,
                self._decode(self.cmos[MINUTES]),
                self._decode(self.cmos[SECONDS]),
            )
        )
        self.offset_s = seconds - self._wall_ns() // NS_PER_S
        self._updated_s = seconds

    def _change_mode(self, register: int, value: int) -> None:
        """Write A or B, which may stop the calendar or set it going."""
        self._update()
        was_running = self._is_running()
        if was_running:
            self._show_time()
        self.cmos[register] = value
        if self._is_running() and not was_running:
            self._set_calendar()
        self._set_second()

    # interrupts

    def _flag(self, flag: int) -> None:
        self.cmos[REG_C] |= flag
        self._update_line()

    def _update_line(self) -> None:
        if self.cmos[REG_C] & self.cmos[REG_B] & (C_PERIODIC | C_ALARM | C_UPDATE):
            self.cmos[REG_C] |= C_IRQ
        else:
            self.cmos[REG_C] &= ~C_IRQ
        self.line.set(bool(self.cmos[REG_C] & C_IRQ))

    def _read_c(self) -> int:
        self._update()
        count = self._periodic_count()
        if count != self.periodic_seen and not self.cmos[REG_B] & B_PIE:
            # With the interrupt off no ticker runs: the flag is worked out when it is looked at.
            self.cmos[REG_C] |= C_PERIODIC
        self.periodic_seen = count
        value = self.cmos[REG_C]
        self.cmos[REG_C] = 0
        self.line.lower()
        return value

    def _set_second(self) -> None:
        if self._is_running() and self.cmos[REG_B] & (B_AIE | B_UIE):
            self._second.set(self._clock.now_ns() + NS_PER_S - self._now_ns() % NS_PER_S)
        else:
            self._second.cancel()

    def _update(self) -> None:
        """Do the update cycles since the last: one at the end of each second."""
        now = self._calendar_s()
        if self._is_running() and now > self._updated_s:
            flags = C_UPDATE
            since = range(max(self._updated_s, now - DAY_S) + 1, now + 1)
            if not self.cmos[REG_C] & C_ALARM and any(map(self._is_alarm, since)):
                flags |= C_ALARM
            self._flag(flags)
        self._updated_s = now
        self._set_second()

    def _is_alarm(self, second: int) -> bool:
        """An alarm byte with both top bits set matches any value."""
        minute, hour = second // 60 % 60, second // 3600 % 24
        shown = self._encode(second % 60), self._encode(minute), self._encode_hour(hour)
        return all(
            self.cmos[at] >= 0xC0 or self.cmos[at] == value for at, value in zip(ALARMS, shown, strict=True)
        )

    def _period_cycles(self) -> int:
        """The periodic interrupt's period in cycles of the crystal; 0 = off."""
        rate = self.cmos[REG_A] & A_RATE
        if rate == 0 or self.cmos[REG_A] & A_DIVIDER != A_DIVIDER_NORMAL:
            return 0
        return 1 << (rate + 6 if rate <= 2 else rate - 1)

    def _periodic_count(self) -> int:
        cycles = self._period_cycles()
        return self._clock.now_ns() * CRYSTAL_HZ // (cycles * NS_PER_S) if cycles else 0

    def _set_periodic(self) -> None:
        cycles = self._period_cycles()
        self.periodic_seen = self._periodic_count()
        if cycles and self.cmos[REG_B] & B_PIE:
            if self._ticker.period != [cycles * NS_PER_S, CRYSTAL_HZ] or not self._ticker.is_running:
                self._ticker.start(0, cycles * NS_PER_S, CRYSTAL_HZ)
        else:
            self._ticker.stop()

    def save(self) -> Record:
        self._update()
        return super().save() | {"cmos": bytes(self.cmos), "ticker": self._ticker.save()}

    def restore(self, record: Record) -> None:
        super().restore(record)
        self.cmos = bytearray(record["cmos"])
        self._ticker.restore(record["ticker"])
        self._updated_s = self._calendar_s()
        self._set_second()
        self.line.set(bool(self.cmos[REG_C] & C_IRQ))
