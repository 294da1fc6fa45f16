"""The PC's I/O ports and interrupt numbers: one table for devices, ACPI and MP tables.

The numbers of the IBM PC/AT, and above 0x600 those that this board gives to ACPI's registers.
"""

from __future__ import annotations

from typing import NamedTuple


class PortRange(NamedTuple):
    """Consecutive ports; ``offset`` is the first one's place in the device's own numbering."""

    base: int
    size: int
    offset: int = 0


PIC = (PortRange(0x20, 2, 0), PortRange(0xA0, 2, 2), PortRange(0x4D0, 2, 4))
PIT = (PortRange(0x40, 4, 0), PortRange(0x61, 1, 4))
I8042 = (PortRange(0x60, 1, 0), PortRange(0x64, 1, 4))
RTC = (PortRange(0x70, 2),)
POST = (PortRange(0x80, 1),)
FAST_A20 = (PortRange(0x92, 1),)
VGA_TEXT = (PortRange(0x3D4, 2, 0), PortRange(0x3DA, 1, 2))
COM1 = (PortRange(0x3F8, 8),)
DEBUG_CONSOLE = (PortRange(0xE9, 1),)
FIRMWARE_CONSOLE = (PortRange(0x402, 1),)
COPROCESSOR = (PortRange(0xF0, 2),)
FW_CFG = (PortRange(0x510, 12),)
PCI_CONFIG = (PortRange(0xCF8, 8),)
RESET_CONTROL = 0xCF9
TEST_LATCH = (PortRange(0xE0, 12),)
TEST_LINES = (PortRange(0x2000, 24),)

ACPI_PM = (PortRange(0x600, 36),)
ACPI_PM1_EVENT = PortRange(0x600, 4)
ACPI_PM1_CONTROL = PortRange(0x604, 2)
ACPI_PM_TIMER = PortRange(0x608, 4)
ACPI_GPE0 = PortRange(0x620, 4)

#: Ports that the PCI root bridge hands down to functions' BARs.
PCI_IO = PortRange(0xC000, 0x4000)

IRQ_TIMER = 0
IRQ_KEYBOARD = 1
IRQ_COM1 = 4
IRQ_RTC = 8
IRQ_SCI = 9
IRQ_MOUSE = 12
IRQ_COPROCESSOR = 13
#: The timer's wire goes to this pin of the I/O APIC; every other ISA wire to the pin of its number.
GSI_TIMER = 2
#: The four INTx wires of PCI: pins of the I/O APIC, and inputs of the 8259 pair for systems without APIC.
GSI_INTX = (16, 17, 18, 19)
IRQ_INTX = (5, 7, 10, 11)

IOAPIC_ID = 0
