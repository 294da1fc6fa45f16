"""ACPI tables: their sums, their links and the encoding of AML."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.board import memory_map as mm
from ringfence.board import ports
from ringfence.board.acpi import aml, resources, tables
from ringfence.devices.legacy.acpi_pm import SLP_TYP_S5
from ringfence.devices.legacy.hpet import CAPABILITIES


class Tables:
    """Finds tables as a system does: from the RSDP, through the XSDT."""

    def __init__(self, cpu_count: int = 1) -> None:
        self.block = tables.build(cpu_count)
        self.rsdp = self.at(mm.ACPI_BASE, 36)
        self.xsdt = self.table(struct.unpack_from("<Q", self.rsdp, 24)[0])
        addresses = struct.unpack(f"<{(len(self.xsdt) - 36) // 8}Q", self.xsdt[36:])
        self.listed = {table[:4]: table for table in map(self.table, addresses)}
        self.fadt = self.listed[b"FACP"]
        self.facs = self.table(struct.unpack_from("<I", self.fadt, 36)[0])
        self.dsdt = self.table(struct.unpack_from("<I", self.fadt, 40)[0])

    def at(self, address: int, size: int) -> bytes:
        offset = address - mm.ACPI_BASE
        assert offset >= 0 and offset + size <= len(self.block)
        return self.block[offset : offset + size]

    def table(self, address: int) -> bytes:
        return self.at(address, struct.unpack("<I", self.at(address + 4, 4))[0])


@pytest.fixture(scope="module")
def built() -> Tables:
    return Tables()


def test_every_table_sums_to_zero(built: Tables) -> None:
    rsdt = built.table(struct.unpack_from("<I", built.rsdp, 16)[0])
    assert sum(built.rsdp[:20]) & 0xFF == 0
    for table in (built.rsdp, rsdt, built.xsdt, built.dsdt, *built.listed.values()):
        assert sum(table) & 0xFF == 0, table[:4]


def test_both_root_tables_list_the_same(built: Tables) -> None:
    rsdt = built.table(struct.unpack_from("<I", built.rsdp, 16)[0])
    assert {built.table(at)[:4] for at in struct.unpack(f"<{(len(rsdt) - 36) // 4}I", rsdt[36:])} == set(
        built.listed
    )
    assert set(built.listed) == {b"FACP", b"APIC", b"MCFG", b"HPET"}


def test_the_fadt_names_the_registers_where_the_board_puts_them(built: Tables) -> None:
    assert len(built.fadt) == 276
    (sci,) = struct.unpack_from("<H", built.fadt, 46)
    event, _, control = struct.unpack_from("<III", built.fadt, 56)
    (timer,) = struct.unpack_from("<I", built.fadt, 76)
    assert (sci, event, control, timer) == (9, 0x600, 0x604, 0x608)
    space, width, _, _, address = struct.unpack_from("<BBBBQ", built.fadt, 116)
    assert (space, width, address, built.fadt[128]) == (1, 8, 0xCF9, 6)
    assert built.facs[:4] == b"FACS" and len(built.facs) == 64
    assert struct.unpack_from("<I", built.fadt, 36)[0] % 64 == 0


def madt_entries(madt: bytes) -> list[bytes]:
    entries, at = [], 44
    while at < len(madt):
        entries.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]
    assert at == len(madt)
    return entries


def test_the_madt_lists_controllers_and_overrides(built: Tables) -> None:
    entries = madt_entries(built.listed[b"APIC"])
    assert struct.pack("<BBBBI", 0, 8, 0, 0, 1) in entries
    assert struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0) in entries
    assert struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0) in entries  # the timer is on pin 2
    assert struct.pack("<BBBBIH", 2, 10, 0, 9, 9, 0xD) in entries  # SCI: level, active high


def test_processors_beyond_254_are_x2apic_entries() -> None:
    entries = madt_entries(Tables(cpu_count=300).listed[b"APIC"])
    assert sum(entry[0] == 0 for entry in entries) == 255
    assert struct.pack("<BBHIII", 9, 16, 0, 299, 1, 299) in entries


def test_the_hpets_table_agrees_with_the_device(built: Tables) -> None:
    assert struct.unpack_from("<I", built.listed[b"HPET"], 36)[0] == CAPABILITIES & 0xFFFF_FFFF


def test_s5_is_what_the_power_registers_wait_for(built: Tables) -> None:
    name, package = b"\x08\\_S5_", bytes([0x12, 6, 4, SLP_TYP_S5, 0, 0, 0])
    assert name + package in built.dsdt


def test_reset_goes_to_the_port_with_the_reset_register(built: Tables) -> None:
    assert struct.unpack_from("<Q", built.fadt, 120)[0] == ports.RESET_CONTROL


# AML. The bytes are those of ACPI 6.4, chapter 20, worked out by hand.


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("_CRS", b"_CRS"),
        ("\\_SB", b"\\_SB_"),
        ("\\_SB.PCI0", b"\\\x2e_SB_PCI0"),
        ("A.B.C", b"\x2f\x03A___B___C___"),
        ("\\", b"\\\x00"),
    ],
)
def test_names(path: str, encoded: bytes) -> None:
    assert aml.name_string(path) == encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"), (1, "01"), (2, "0a02"), (0xFF, "0aff"), (0x100, "0b0001"), (0xFFFF, "0bffff"),
        (0x1_0000, "0c00000100"), (1 << 32, "0e0000000001000000"),
    ],
)  # fmt: skip
def test_integers(value: int, encoded: str) -> None:
    assert aml.integer(value) == bytes.fromhex(encoded)


def test_eisa_ids() -> None:
    assert aml.eisa_id("PNP0A03") == bytes.fromhex("0c41d00a03")


@given(st.integers(0, 5000))
def test_a_package_length_counts_itself(size: int) -> None:
    encoded = aml.scope("ABCD", bytes(size))
    assert encoded[0] == 0x10
    extra = encoded[1] >> 6
    length = encoded[1] & (0x3F if not extra else 0x0F)
    for n in range(extra):
        length |= encoded[2 + n] << (4 + 8 * n)
    assert length == len(encoded) - 1
    assert encoded.endswith(b"ABCD" + bytes(size))


def test_resource_templates_end_with_a_tag() -> None:
    template = resources.template(resources.io(0x60, 1), resources.irq(1))
    assert template[0] == 0x11 and template.endswith(b"\x79\x00")
    assert bytes.fromhex("4701600060000101") in template
    assert bytes.fromhex("220200") in template
