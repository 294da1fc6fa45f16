"""Where everything is in the PC's physical address space.

    +------------------+ 0
    | RAM              |       firmware data area, boot parameters
    +------------------+ 640 KiB
    | RAM, as video    |       nobody looks at it; text written there can be read back
    +------------------+ 768 KiB
    | RAM, reserved    |       at E0000: ACPI, MP and SMBIOS tables; or the firmware's ROM
    +------------------+ 1 MiB
    | RAM              |       up to 3 GiB
    +------------------+ C0000000 or less
    | PCI memory       |
    +------------------+ E0000000
    | ECAM             |       configuration space of 256 PCI buses
    +------------------+ F0000000
    | nothing          |
    +------------------+ FEC00000
    | I/O APIC, HPET, local APICs; the firmware's ROM up to the end
    +------------------+ 4 GiB
    | RAM, the rest    |
    +------------------+

Firmware describes this to a system as the E820 map: ACPI 6.4, section 15.1.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ringfence.units import GIB, KIB, MIB

CONVENTIONAL_END = 0x9_FC00
EBDA_BASE = CONVENTIONAL_END
VIDEO_BASE = 0xA_0000
BIOS_BASE = 0xE_0000
BIOS_BYTES = 128 * KIB
HIGH_BASE = MIB

LOW_RAM_LIMIT = 0xC000_0000
PCI_MEMORY_BASE = 0xC000_0000
PCI_MEMORY_BYTES = 512 * MIB
ECAM_BASE = 0xE000_0000
ECAM_BYTES = 256 * MIB
IOAPIC_BASE = 0xFEC0_0000
IOAPIC_BYTES = 0x1000
HPET_BASE = 0xFED0_0000
HPET_BYTES = 0x400
LAPIC_BASE = 0xFEE0_0000
LAPIC_BYTES = 0x10_0000
BELOW_4G_END = 4 * GIB

# Tables that firmware leaves for the system, inside [BIOS_BASE, HIGH_BASE).
ACPI_BASE = BIOS_BASE
ACPI_BYTES = 64 * KIB
MP_TABLE_BASE = 0xF_0000
MP_TABLE_BYTES = 4 * KIB
SMBIOS_BASE = 0xF_1000
SMBIOS_BYTES = 4 * KIB

# What a boot loader leaves in conventional memory, out of the way of kernels that load low.
BOOT_BASE = 0x9_0000
BOOT_INFO = BOOT_BASE
BOOT_GDT = 0x9_1000
BOOT_LISTS = 0x9_2000
BOOT_PAGE_TABLES = 0x9_4000
BOOT_COMMAND_LINE = 0x9_A000
BOOT_COMMAND_LINE_BYTES = 0x9_F000 - BOOT_COMMAND_LINE


class RangeType(IntEnum):
    """ACPI 6.4, table 15.2."""

    RAM = 1
    RESERVED = 2


class Range(NamedTuple):
    """One line of the E820 map."""

    base: int
    size_bytes: int
    type: RangeType

    @property
    def end(self) -> int:
        return self.base + self.size_bytes


class MemoryMap:
    """The addresses of a machine with ``ram_bytes`` of RAM."""

    def __init__(self, ram_bytes: int) -> None:
        self.ram_bytes = ram_bytes
        #: the end of RAM below 4 GiB
        self.low_end = min(ram_bytes, LOW_RAM_LIMIT)
        self.high_bytes = ram_bytes - self.low_end
        #: the end of all RAM; PCI's 64-bit window could start here
        self.end = BELOW_4G_END + self.high_bytes if self.high_bytes else self.low_end

    def e820(self) -> list[Range]:
        """The map for a system that is started without firmware, ascending."""
        ranges = [
            Range(0, CONVENTIONAL_END, RangeType.RAM),
            Range(EBDA_BASE, VIDEO_BASE - EBDA_BASE, RangeType.RESERVED),
            Range(BIOS_BASE, BIOS_BYTES, RangeType.RESERVED),
            Range(HIGH_BASE, self.low_end - HIGH_BASE, RangeType.RAM),
            # Systems trust the MCFG table only when its window is reserved here too.
            Range(ECAM_BASE, ECAM_BYTES, RangeType.RESERVED),
        ]
        if self.high_bytes:
            ranges.append(Range(BELOW_4G_END, self.high_bytes, RangeType.RAM))
        return ranges

    def high_ram(self) -> Range:
        """RAM from 1 MiB up, below 4 GiB: where kernels go."""
        return Range(HIGH_BASE, self.low_end - HIGH_BASE, RangeType.RAM)
