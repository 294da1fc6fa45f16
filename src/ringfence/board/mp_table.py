"""The MP table, for systems that predate ACPI: Intel MultiProcessor Specification 1.4, chapter 4."""

from __future__ import annotations

import struct

from ringfence.board import memory_map as mm
from ringfence.board import ports
from ringfence.board.acpi.table import with_checksum

_FLOATING_BYTES = 16
_LAPIC_VERSION = 0x14
_IOAPIC_VERSION = 0x11
_CPU_ENABLED, _CPU_BOOT = 1 << 0, 1 << 1
_BUS_PCI, _BUS_ISA = 0, 1
_INT, _NMI, _EXTINT = 0, 1, 3
_CONFORMS = 0
_ACTIVE_LOW_LEVEL = 0b1111
_ISA_CASCADE = 2
_PCI_SLOTS, _PINS = 32, 4


def build(cpu_count: int, cpu_signature: int = 0, cpu_features: int = 0) -> bytes:
    """The floating pointer and the configuration table, for `memory_map.MP_TABLE_BASE`."""
    entries = [*_processors(cpu_count, cpu_signature, cpu_features), *_buses(), _ioapic(), *_interrupts()]
    body = b"".join(entries)
    header = struct.pack(
        "<4sHBB8s12sIHHIHBB",
        b"PCMP", 44 + len(body), 4, 0, b"RINGFENC", b"PC".ljust(12), 0, 0, len(entries), mm.LAPIC_BASE,
        0, 0, 0,
    )  # fmt: skip
    table = mm.MP_TABLE_BASE + _FLOATING_BYTES
    floating = struct.pack("<4sIBBB5x", b"_MP_", table, 1, 4, 0)
    return with_checksum(floating, 10) + with_checksum(header + body, 7)


def _processors(count: int, signature: int, features: int) -> list[bytes]:
    return [
        struct.pack(
            "<BBBBII8x", 0, cpu, _LAPIC_VERSION, _CPU_ENABLED | (0 if cpu else _CPU_BOOT), signature, features
        )
        for cpu in range(min(count, 255))
    ]


def _buses() -> list[bytes]:
    return [struct.pack("<BB6s", 1, _BUS_PCI, b"PCI   "), struct.pack("<BB6s", 1, _BUS_ISA, b"ISA   ")]


def _ioapic() -> bytes:
    return struct.pack("<BBBBI", 2, ports.IOAPIC_ID, _IOAPIC_VERSION, 1, mm.IOAPIC_BASE)


def _interrupts() -> list[bytes]:
    """ISA wires to their pins, PCI's INTx to theirs, and the processors' own two inputs."""
    isa = [
        _interrupt(3, _INT, _CONFORMS, _BUS_ISA, irq, ports.IOAPIC_ID, _pin_of(irq))
        for irq in range(16)
        if irq != _ISA_CASCADE
    ]
    pci = [
        _interrupt(
            3, _INT, _ACTIVE_LOW_LEVEL, _BUS_PCI, slot << 2 | pin, ports.IOAPIC_ID,
            ports.GSI_INTX[(slot + pin) % _PINS],
        )
        for slot in range(_PCI_SLOTS)
        for pin in range(_PINS)
    ]  # fmt: skip
    every_lapic = 0xFF
    local = [
        _interrupt(4, _EXTINT, _CONFORMS, _BUS_ISA, 0, every_lapic, 0),
        _interrupt(4, _NMI, _CONFORMS, _BUS_ISA, 0, every_lapic, 1),
    ]
    return isa + pci + local


def _pin_of(irq: int) -> int:
    return ports.GSI_TIMER if irq == ports.IRQ_TIMER else irq


def _interrupt(
    entry: int, kind: int, flags: int, bus: int, source: int, destination: int, input_pin: int
) -> bytes:
    return struct.pack("<BBHBBBB", entry, kind, flags, bus, source, destination, input_pin)
