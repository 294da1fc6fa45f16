"""The interval timer and the PC's port 0x61: Intel 8254 data sheet.

Counters are not stepped: what one holds and shows is worked out from the time since it was
loaded. A new count takes effect at once in every mode.
"""

from __future__ import annotations

from ringfence.devices.clock import Clock
from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters, restore_fields, save_fields
from ringfence.devices.legacy.ticker import Ticker
from ringfence.units import NS_PER_S

INPUT_HZ = 1_193_182

ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH = 1, 2, 3
READ_BACK = 3
STATUS_OUT, STATUS_NULL = 0x80, 0x40

CONTROL, PORT_61 = 3, 4
P61_GATE2, P61_WRITABLE, P61_REFRESH, P61_OUT2 = 0x01, 0x0F, 0x10, 0x20
REFRESH_NS = 15_085

_STATE = (
    *("mode", "is_bcd", "access", "count", "gate", "start_ns", "held", "is_null", "is_counting"),
    *("latched_count", "latched_status", "writes_high", "reads_high", "low_byte"),
)


class Counter:
    """One of the three counters."""

    def __init__(self, clock: Clock, gate: bool) -> None:
        self._clock = clock
        self.gate = gate
        self.mode, self.is_bcd, self.access = 3, False, ACCESS_BOTH
        self.count = 0x10000
        self.start_ns = 0
        #: clock pulses counted when the gate stopped it, or -1
        self.held = -1
        #: control word written, count not yet
        self.is_null = True
        #: loaded, and in modes 1 and 5 triggered
        self.is_counting = False
        self.latched_count = self.latched_status = -1
        self.writes_high = self.reads_high = False
        self.low_byte = 0

    @property
    def is_periodic(self) -> bool:
        return self.mode in (2, 3)

    def elapsed(self) -> int:
        """Pulses of the input clock since the count was loaded."""
        if not self.is_counting:
            return 0
        if self.held >= 0:
            return self.held
        return max(0, self._clock.now_ns() - self.start_ns) * INPUT_HZ // NS_PER_S

    def output(self) -> bool:
        if not self.is_counting or (self.is_periodic and self.held >= 0):
            return self.mode != 0
        elapsed = self.elapsed()
        if self.mode in (0, 1):
            return elapsed >= self.count
        if self.mode == 2:
            return elapsed % self.count != self.count - 1
        if self.mode == 3:
            return elapsed % self.count < (self.count + 1) // 2
        return elapsed != self.count  # a strobe one pulse long

    def value(self) -> int:
        """The counting element, as its two bytes are read."""
        elapsed = self.elapsed()
        if self.mode == 2:
            value = self.count - elapsed % self.count
        elif self.mode == 3:
            value = self.count - 2 * elapsed % self.count
        else:
            value = self.count - elapsed  # goes on past zero
        if not self.is_bcd:
            return value & 0xFFFF
        value %= 10_000
        return value // 1000 << 12 | value // 100 % 10 << 8 | value // 10 % 10 << 4 | value % 10

    def set_mode(self, control: int) -> None:
        mode = control >> 1 & 7
        self.mode = mode - 4 if mode > 5 else mode
        self.is_bcd = bool(control & 1)
        self.access = control >> 4 & 3
        self.is_null, self.is_counting = True, False
        self.writes_high = self.reads_high = False
        self.latched_count = self.latched_status = -1

    def latch_count(self) -> None:
        if self.latched_count < 0:
            self.latched_count = self.value()

    def latch_status(self) -> None:
        if self.latched_status < 0:
            flags = (STATUS_OUT if self.output() else 0) | (STATUS_NULL if self.is_null else 0)
            self.latched_status = flags | self.access << 4 | self.mode << 1 | self.is_bcd

    def read(self) -> int:
        if self.latched_status >= 0:
            value, self.latched_status = self.latched_status, -1
            return value
        value = self.latched_count if self.latched_count >= 0 else self.value()
        high = self.access == ACCESS_HIGH or (self.access == ACCESS_BOTH and self.reads_high)
        if self.access == ACCESS_BOTH:
            self.reads_high = not self.reads_high
        if not self.reads_high:
            self.latched_count = -1
        return value >> 8 if high else value & 0xFF

    def write(self, value: int) -> bool:
        """One byte of the count. True when it was the last one and counting starts anew."""
        if self.access == ACCESS_BOTH and not self.writes_high:
            self.low_byte = value
            self.writes_high = True
            if self.mode == 0:
                self.is_counting = False  # the first byte stops the count
            return False
        if self.access == ACCESS_BOTH:
            self.writes_high = False
            value = value << 8 | self.low_byte
        elif self.access == ACCESS_HIGH:
            value <<= 8
        self._load(value)
        return True

    def _load(self, value: int) -> None:
        if self.is_bcd:
            value = sum((value >> 4 * digit & 0xF) * 10**digit for digit in range(4))
            self.count = value or 10_000
        else:
            self.count = value or 0x10000
        if self.is_periodic and self.count == 1:
            self.count = 2  # 1 is illegal in modes 2 and 3
        self.is_null = False
        if self.mode not in (1, 5):
            self._start()

    def _start(self) -> None:
        self.start_ns = self._clock.now_ns()
        self.held = -1 if self.gate else 0
        self.is_counting = True

    def set_gate(self, gate: bool) -> None:
        """Modes 0 and 4 pause while the gate is low, 2 and 3 start anew, 1 and 5 are triggered."""
        if gate == self.gate:
            return
        if self.mode in (1, 5):
            self.gate = gate
            if gate and not self.is_null:
                self._start()
            return
        elapsed = self.elapsed()
        self.gate = gate
        if not self.is_counting:
            return
        if not gate:
            self.held = elapsed
        elif self.is_periodic:
            self._start()
        else:
            self.start_ns = self._clock.now_ns() - elapsed * NS_PER_S // INPUT_HZ
            self.held = -1


class Pit(ByteRegisters):
    """Counters at offsets 0-2, control at 3 (ports 0x40), port 0x61 at 4.

    ``line`` is counter 0's output: IRQ 0. In the periodic modes it dips at each period's start.
    """

    STATE = ("port_61",)

    def __init__(self, clock: Clock, line: Line, name: str = "pit") -> None:
        self.name = name
        self._clock = clock
        self.line = line
        self._ticker = Ticker(clock, self._edge)
        self._expiry = clock.alarm(self._edge)
        line.on_hearing = lambda: self._ticker.mute(not line.is_heard)
        self.reset()

    def reset(self) -> None:
        self.counters = [Counter(self._clock, gate=index != 2) for index in range(3)]
        self.port_61 = 0
        self._ticker.stop()
        self._expiry.cancel()
        self.line.lower()

    def read_byte(self, offset: int) -> int:
        if offset == PORT_61:
            refresh = P61_REFRESH if self._clock.now_ns() // REFRESH_NS & 1 else 0
            return self.port_61 | refresh | (P61_OUT2 if self.counters[2].output() else 0)
        if offset == CONTROL:
            return 0xFF  # write-only
        return self.counters[offset].read()

    def write_byte(self, offset: int, value: int) -> None:
        if offset == PORT_61:
            self.port_61 = value & P61_WRITABLE
            self.counters[2].set_gate(bool(value & P61_GATE2))
        elif offset == CONTROL:
            self._write_control(value)
        elif self.counters[offset].write(value) and offset == 0:
            self._start_line()

    def _write_control(self, value: int) -> None:
        which = value >> 6
        if which == READ_BACK:
            for index, counter in enumerate(self.counters):
                if value & 2 << index:
                    if not value & 0x20:
                        counter.latch_count()
                    if not value & 0x10:
                        counter.latch_status()
        elif value & 0x30 == 0:
            self.counters[which].latch_count()
        else:
            self.counters[which].set_mode(value)
            if which == 0:
                self._ticker.stop()
                self._expiry.cancel()
                self.line.set(self.counters[0].mode != 0)

    def _start_line(self) -> None:
        """Counter 0 was loaded: set the alarm for its output's rising edges."""
        counter = self.counters[0]
        self._ticker.stop()
        self._expiry.cancel()
        if counter.is_periodic:
            self._ticker.start(counter.start_ns, counter.count * NS_PER_S, INPUT_HZ)
        elif counter.is_counting:
            if counter.mode == 0:
                self.line.lower()
            pulses = counter.count + (counter.mode == 4)  # after the strobe
            self._expiry.set(counter.start_ns - (-pulses * NS_PER_S // INPUT_HZ))

    def _edge(self) -> None:
        self.line.lower()
        self.line.raise_()

    def save(self) -> Record:
        counters = [save_fields(counter, _STATE) for counter in self.counters]
        return super().save() | {
            "counters": counters,
            "ticker": self._ticker.save(),
            "expiry_ns": self._expiry.deadline_ns,
            "line": self.line.level,
        }

    def restore(self, record: Record) -> None:
        super().restore(record)
        for counter, saved in zip(self.counters, record["counters"], strict=True):
            restore_fields(counter, saved, _STATE)
        self._ticker.restore(record["ticker"])
        self._expiry.cancel()
        if record["expiry_ns"] is not None:
            self._expiry.set(record["expiry_ns"])
        self.line.set(bool(record["line"]))
