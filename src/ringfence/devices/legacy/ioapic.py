"""The I/O APIC: Intel 82093AA data sheet.

Polarity is ignored: a line here is asserted or not, whatever voltage that would be.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from ringfence.devices.device import Record
from ringfence.devices.legacy.registers import restore_fields, save_fields

PINS = 24
VERSION = 0x11
IOREGSEL, IOWIN = 0x00, 0x10
REG_ID, REG_VERSION, REG_ARBITRATION, REG_TABLE = 0x00, 0x01, 0x02, 0x10

LOGICAL = 1 << 11
REMOTE_IRR = 1 << 14
LEVEL = 1 << 15
MASKED = 1 << 16
DELIVERY_NMI = 4
#: Delivery status and remote IRR are the hardware's.
READ_ONLY = 1 << 12 | REMOTE_IRR
IMPLEMENTED = 0xFF << 56 | 0x1FFFF

_STATE = ("select", "id", "entries", "levels")


class Deliver(Protocol):
    """How an interrupt message reaches the local APICs."""

    def __call__(
        self, destination: int, is_logical: bool, delivery_mode: int, vector: int, is_level: bool
    ) -> object: ...


class IoApic:
    """24 pins; registers at offsets 0x00 (select) and 0x10 (window)."""

    def __init__(self, deliver: Deliver, name: str = "ioapic") -> None:
        self.name = name
        self._deliver = deliver
        self.levels = 0
        #: one sink for each pin
        self.lines = [partial(self._set_line, pin) for pin in range(PINS)]
        self.reset()

    def reset(self) -> None:
        self.select = self.id = 0
        self.entries = [MASKED] * PINS

    def read(self, offset: int, size_bytes: int) -> int:
        if offset & ~3 == IOREGSEL:
            value = self.select
        elif offset & ~3 == IOWIN:
            value = self._read_register(self.select)
        else:
            return 0
        return value >> 8 * (offset & 3)

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        if offset == IOREGSEL:
            self.select = value & 0xFF
        elif offset == IOWIN:
            self._write_register(self.select, value & 0xFFFF_FFFF)

    def _read_register(self, register: int) -> int:
        if register in (REG_ID, REG_ARBITRATION):
            return self.id << 24
        if register == REG_VERSION:
            return (PINS - 1) << 16 | VERSION
        pin = (register - REG_TABLE) >> 1
        if 0 <= pin < PINS:
            return self.entries[pin] >> 32 if register & 1 else self.entries[pin] & 0xFFFF_FFFF
        return 0

    def _write_register(self, register: int, value: int) -> None:
        pin = (register - REG_TABLE) >> 1
        if register == REG_ID:
            self.id = value >> 24 & 0x0F
        elif 0 <= pin < PINS:
            old = self.entries[pin]
            if register & 1:
                new = old & 0xFFFF_FFFF | value << 32
            else:
                new = old & ~0xFFFF_FFFF | value & ~READ_ONLY | old & READ_ONLY
                if not value & LEVEL:
                    # Systems end a stuck level interrupt by making the pin edge-triggered.
                    new &= ~REMOTE_IRR
            self.entries[pin] = new & IMPLEMENTED
            self._service_level(pin)

    def _set_line(self, pin: int, level: bool) -> None:
        bit = 1 << pin
        if not level:
            self.levels &= ~bit
            return
        was_high = self.levels & bit
        self.levels |= bit
        entry = self.entries[pin]
        if entry & LEVEL:
            self._service_level(pin)
        elif not was_high and not entry & MASKED:
            self._send(entry)

    def _service_level(self, pin: int) -> None:
        entry = self.entries[pin]
        if self.levels >> pin & 1 and entry & LEVEL and not entry & (MASKED | REMOTE_IRR):
            self.entries[pin] = entry | REMOTE_IRR
            self._send(entry)

    def _send(self, entry: int) -> None:
        self._deliver(entry >> 56, bool(entry & LOGICAL), entry >> 8 & 7, entry & 0xFF, bool(entry & LEVEL))

    @property
    def may_nmi(self) -> bool:
        """Some unmasked pin delivers a non-maskable interrupt."""
        return any(entry >> 8 & 7 == DELIVERY_NMI and not entry & MASKED for entry in self.entries)

    def eoi(self, vector: int) -> None:
        """A local APIC ended the level-triggered ``vector``; lines still high interrupt again."""
        for pin, entry in enumerate(self.entries):
            if entry & REMOTE_IRR and entry & 0xFF == vector:
                self.entries[pin] = entry & ~REMOTE_IRR
                self._service_level(pin)

    def save(self) -> Record:
        return save_fields(self, _STATE)

    def restore(self, record: Record) -> None:
        restore_fields(self, record, _STATE)
