"""What firmware leaves in memory for the system, on a machine that starts without one.

The BIOS data area is that of the IBM PS/2 and Personal Computer BIOS Interface Technical Reference.
"""

from __future__ import annotations

import struct
import uuid

from ringfence.board import memory_map as mm
from ringfence.board import mp_table, ports, real_mode, smbios
from ringfence.board.acpi import tables as acpi
from ringfence.board.memory_map import MemoryMap
from ringfence.devices.dma import GuestMemory
from ringfence.units import KIB

_COM1_PORT, _EBDA_SEGMENT, _EQUIPMENT, _MEMORY_KIB = 0x400, 0x40E, 0x410, 0x413
_EQUIPMENT_FPU_MOUSE_ONE_SERIAL = 1 << 1 | 1 << 2 | 1 << 9


def write(memory: GuestMemory, map: MemoryMap, cpu_model: str, cpu_count: int) -> None:
    """The interrupt vectors, the data area and the ACPI, MP and SMBIOS tables."""
    real_mode.write(memory)
    for address, value in (
        (_COM1_PORT, ports.COM1[0].base),
        (_EBDA_SEGMENT, mm.EBDA_BASE >> 4),
        (_EQUIPMENT, _EQUIPMENT_FPU_MOUSE_ONE_SERIAL),
        (_MEMORY_KIB, mm.CONVENTIONAL_END // KIB),
    ):
        memory.write(address, struct.pack("<H", value))
    memory.write(mm.EBDA_BASE, b"\x01")  # its own size in KiB
    memory.write(mm.ACPI_BASE, acpi.build(cpu_count))
    memory.write(mm.MP_TABLE_BASE, mp_table.build(cpu_count))
    memory.write(mm.SMBIOS_BASE, smbios.build(map, cpu_model, uuid.uuid4()))
