"""The tables of fixed layout: FADT, FACS, MADT, MCFG, HPET. ACPI 6.4, section 5.2.

MCFG: PCI Firmware Specification 3.2, section 4.1.2. HPET: IA-PC HPET Specification 1.0a, section 3.2.4.
"""

from __future__ import annotations

import struct

from ringfence.board import memory_map as mm
from ringfence.board import ports
from ringfence.board.acpi.table import generic_address, table

RESET_VALUE = 0x06
#: The x2APIC entry is for ids that the 8-bit one can't hold; 255 means "all".
LOCAL_APIC_ID_MAX = 254
HPET_HARDWARE_ID = 0x8086_A201  # vendor, legacy replacement, 64-bit counter, 3 timers, revision 1

_FADT_WBINVD = 1 << 0
_FADT_C1 = 1 << 2
_FADT_NO_SLEEP_BUTTON = 1 << 5
_FADT_NO_FIXED_RTC = 1 << 6
_FADT_TIMER_32_BIT = 1 << 8
_FADT_RESET_REGISTER = 1 << 10
_BOOT_LEGACY_DEVICES = 1 << 0
_BOOT_8042 = 1 << 1
_BOOT_NO_VGA = 1 << 2
_C2_C3_UNSUPPORTED = (0x0FFF, 0x0FFF)
_PROFILE_DESKTOP = 1
_RTC_CENTURY = 0x32

_PCAT_COMPAT = 1 << 0
_ENABLED = 1 << 0
_ACTIVE_HIGH_LEVEL = 0b1101


def facs() -> bytes:
    """The one table that the system writes to: wake-up vector and global lock."""
    return struct.pack("<4sIIIIIQB31x", b"FACS", 64, 0, 0, 0, 0, 0, 2)


def fadt(facs_address: int, dsdt_address: int) -> bytes:
    """Where the fixed registers are. No SMI command port: ACPI mode is always on."""
    event, control, timer, gpe = (
        ports.ACPI_PM1_EVENT, ports.ACPI_PM1_CONTROL, ports.ACPI_PM_TIMER, ports.ACPI_GPE0,
    )  # fmt: skip
    flags = (
        _FADT_WBINVD | _FADT_C1 | _FADT_NO_SLEEP_BUTTON | _FADT_NO_FIXED_RTC | _FADT_TIMER_32_BIT
        | _FADT_RESET_REGISTER
    )  # fmt: skip
    none = bytes(12)
    body = struct.pack(
        "<II BBH I BBBB IIIIIIII BBBBBBBB HHHH BBBBB HBI".replace(" ", ""),
        facs_address, dsdt_address,
        0, _PROFILE_DESKTOP, ports.IRQ_SCI,
        0, 0, 0, 0, 0,
        event.base, 0, control.base, 0, 0, timer.base, gpe.base, 0,
        event.size, control.size, 0, timer.size, gpe.size, 0, 0, 0,
        *_C2_C3_UNSUPPORTED, 0, 0,
        0, 0, 0, 0, _RTC_CENTURY,
        _BOOT_LEGACY_DEVICES | _BOOT_8042 | _BOOT_NO_VGA, 0, flags,
    )  # fmt: skip
    body += generic_address(True, ports.RESET_CONTROL, 1) + struct.pack("<BHB", RESET_VALUE, 0, 1)
    body += struct.pack("<QQ", 0, dsdt_address)  # the FACS has one address only
    body += generic_address(True, event.base, 4) + none
    body += generic_address(True, control.base, 2) + none
    body += none + generic_address(True, timer.base, 4)
    body += generic_address(True, gpe.base, 4) + none
    body += none + none + bytes(8)  # sleep control and status, hypervisor vendor
    return table(b"FACP", 6, body)


def madt(cpu_count: int) -> bytes:
    body = struct.pack("<II", mm.LAPIC_BASE, _PCAT_COMPAT)
    for cpu in range(cpu_count):
        if cpu <= LOCAL_APIC_ID_MAX:
            body += struct.pack("<BBBBI", 0, 8, cpu, cpu, _ENABLED)
        else:
            body += struct.pack("<BBHIII", 9, 16, 0, cpu, _ENABLED, cpu)
    body += struct.pack("<BBBBII", 1, 12, ports.IOAPIC_ID, 0, mm.IOAPIC_BASE, 0)
    body += struct.pack("<BBBBIH", 2, 10, 0, ports.IRQ_TIMER, ports.GSI_TIMER, 0)
    body += struct.pack("<BBBBIH", 2, 10, 0, ports.IRQ_SCI, ports.IRQ_SCI, _ACTIVE_HIGH_LEVEL)
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)  # NMI is LINT1 of every processor
    return table(b"APIC", 5, body)


def mcfg() -> bytes:
    last_bus = (mm.ECAM_BYTES >> 20) - 1
    return table(b"MCFG", 1, struct.pack("<8xQHBB4x", mm.ECAM_BASE, 0, 0, last_bus))


def hpet() -> bytes:
    address = struct.pack("<BBBBQ", 0, 64, 0, 0, mm.HPET_BASE)
    return table(b"HPET", 1, struct.pack("<I", HPET_HARDWARE_ID) + address + struct.pack("<BHB", 0, 0x80, 0))
