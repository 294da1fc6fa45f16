"""Lays the ACPI tables out in memory and links them: ACPI 6.4, sections 5.2.5 (RSDP) to 5.2.8 (XSDT)."""

from __future__ import annotations

import struct

from ringfence.board import memory_map as mm
from ringfence.board.acpi.dsdt import dsdt
from ringfence.board.acpi.static import facs, fadt, hpet, madt, mcfg
from ringfence.board.acpi.table import OEM_ID, table, with_checksum

#: The RSDP is found by scanning 16-byte boundaries from E0000 up, or because a loader passes it.
RSDP_ADDRESS = mm.ACPI_BASE
_ALIGNMENT = 64


def build(cpu_count: int) -> bytes:
    """All tables as one block for `memory_map.ACPI_BASE`; the RSDP comes first."""
    layout = _Layout(RSDP_ADDRESS + _ALIGNMENT)
    facs_address = layout.add(facs())
    dsdt_address = layout.add(dsdt())
    listed = [
        layout.add(data) for data in (fadt(facs_address, dsdt_address), madt(cpu_count), mcfg(), hpet())
    ]
    rsdt = layout.add(table(b"RSDT", 1, struct.pack(f"<{len(listed)}I", *listed)))
    xsdt = layout.add(table(b"XSDT", 1, struct.pack(f"<{len(listed)}Q", *listed)))
    return rsdp(rsdt, xsdt).ljust(_ALIGNMENT, b"\0") + bytes(layout.data)


def rsdp(rsdt: int, xsdt: int) -> bytes:
    """The root pointer, revision 2: its first 20 bytes have a checksum of their own."""
    first = with_checksum(struct.pack("<8sB6sBI", b"RSD PTR ", 0, OEM_ID, 2, rsdt), 8)
    return with_checksum(first + struct.pack("<IQB3x", 36, xsdt, 0), 32)


class _Layout:
    """Tables one after the other."""

    def __init__(self, base: int) -> None:
        self._base = base
        self.data = bytearray()

    def add(self, data: bytes) -> int:
        """Append a table; returns its address."""
        self.data += bytes(-len(self.data) % _ALIGNMENT)
        address = self._base + len(self.data)
        self.data += data
        if address + len(data) > mm.ACPI_BASE + mm.ACPI_BYTES:
            raise ValueError("the ACPI tables outgrow their place")
        return address
