"""The DSDT: the devices that can't be found by asking the hardware. ACPI 6.4, chapters 5.6 to 7."""

from __future__ import annotations

from ringfence.board import memory_map as mm
from ringfence.board import ports
from ringfence.board.acpi import aml
from ringfence.board.acpi import resources as res
from ringfence.board.acpi.table import table
from ringfence.devices.legacy.acpi_pm import SLP_TYP_S5

_PCI_SLOTS = 32
_PINS = 4


def dsdt() -> bytes:
    return table(b"DSDT", 2, soft_off() + interrupt_mode() + aml.scope("\\_SB", pci_root()))


def soft_off() -> bytes:
    return aml.name("\\_S5", aml.package(*[aml.integer(n) for n in (SLP_TYP_S5, 0, 0, 0)]))


def interrupt_mode() -> bytes:
    """The system calls ``\\_PIC`` with 1 when it uses the I/O APIC; ``_PRT`` answers accordingly."""
    return aml.name("\\PICF", aml.integer(0)) + aml.method(
        "\\_PIC", 1, aml.store(aml.argument(0), aml.name_string("\\PICF"))
    )


def pci_root() -> bytes:
    return aml.device(
        "PCI0",
        aml.name("_HID", aml.eisa_id("PNP0A08")),
        aml.name("_CID", aml.eisa_id("PNP0A03")),
        aml.name("_UID", aml.integer(0)),
        aml.name("_SEG", aml.integer(0)),
        aml.name("_BBN", aml.integer(0)),
        aml.name("_CRS", pci_windows()),
        aml.name("PRTA", _routing(ports.GSI_INTX)),
        aml.name("PRTP", _routing(ports.IRQ_INTX)),
        aml.method(
            "_PRT", 0,
            aml.if_(aml.name_string("\\PICF"), aml.return_(aml.name_string("PRTA"))),
            aml.return_(aml.name_string("PRTP")),
        ),
        aml.device(
            "ISA", aml.name("_ADR", aml.integer(0x001F_0000)),
            _motherboard(), _keyboard(), _mouse(), _rtc(), _timer(),
            _serial("COM1", 1, ports.COM1[0], ports.IRQ_COM1),
        ),
    )  # fmt: skip


def pci_windows() -> bytes:
    """What the root bridge hands down: all ports but its own two, and one range of memory."""
    after_config = ports.PCI_CONFIG[0].base + ports.PCI_CONFIG[0].size
    return res.template(
        res.bus_window(0, 0xFF),
        res.io(*ports.PCI_CONFIG[0][:2]),
        res.io_window(0, ports.PCI_CONFIG[0].base),
        res.io_window(after_config, 0x1_0000 - after_config),
        res.memory_window(mm.VIDEO_BASE, 0x2_0000),
        res.memory_window(mm.PCI_MEMORY_BASE, mm.PCI_MEMORY_BYTES),
    )


def _routing(wires: tuple[int, ...]) -> bytes:
    """Pin p of slot s is on wire (s + p) mod 4."""
    return aml.package(
        *[
            aml.package(
                aml.integer(slot << 16 | 0xFFFF), aml.integer(pin), aml.integer(0),
                aml.integer(wires[(slot + pin) % _PINS]),
            )
            for slot in range(_PCI_SLOTS)
            for pin in range(_PINS)
        ]
    )  # fmt: skip


def _isa_device(path: str, pnp_id: str, *descriptors: bytes) -> bytes:
    return aml.device(
        path, aml.name("_HID", aml.eisa_id(pnp_id)), aml.name("_CRS", res.template(*descriptors))
    )


def _motherboard() -> bytes:
    """Ranges that belong to the board, so that nothing else is put there."""
    return _isa_device(
        "MBRD", "PNP0C02",
        res.memory(mm.ECAM_BASE, mm.ECAM_BYTES),
        res.io(*ports.ACPI_PM[0][:2]),
        res.io(*ports.PIC[2][:2]),
    )  # fmt: skip


def _keyboard() -> bytes:
    data, command = ports.I8042
    return _isa_device(
        "KBD", "PNP0303", res.io(data.base, 1), res.io(command.base, 1), res.irq(ports.IRQ_KEYBOARD)
    )


def _mouse() -> bytes:
    return _isa_device("MOU", "PNP0F13", res.irq(ports.IRQ_MOUSE))


def _rtc() -> bytes:
    return _isa_device("RTC", "PNP0B00", res.io(*ports.RTC[0][:2]), res.irq(ports.IRQ_RTC))


def _timer() -> bytes:
    return _isa_device("TMR", "PNP0100", res.io(*ports.PIT[0][:2]), res.irq(ports.IRQ_TIMER))


def _serial(path: str, uid: int, port: ports.PortRange, irq: int) -> bytes:
    return aml.device(
        path,
        aml.name("_HID", aml.eisa_id("PNP0501")),
        aml.name("_UID", aml.integer(uid)),
        aml.name("_CRS", res.template(res.io(port.base, port.size), res.irq(irq))),
    )
