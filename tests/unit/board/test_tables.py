"""MP table, SMBIOS and the BIOS data area."""

from __future__ import annotations

import struct
import uuid

from fake_machine import FakeMemory

from ringfence.board import bios_data, mp_table, smbios
from ringfence.board import memory_map as mm
from ringfence.board.memory_map import MemoryMap
from ringfence.units import GIB, MIB


def test_the_mp_table_sums_to_zero_and_counts_its_entries() -> None:
    block = mp_table.build(2)
    assert block[:4] == b"_MP_" and sum(block[:16]) & 0xFF == 0
    table = block[struct.unpack_from("<I", block, 4)[0] - mm.MP_TABLE_BASE :]
    length, count = struct.unpack_from("<H", table, 4)[0], struct.unpack_from("<H", table, 34)[0]
    assert table[:4] == b"PCMP" and length == len(table) and sum(table) & 0xFF == 0
    at, kinds = 44, []
    while at < length:
        kinds.append(table[at])
        at += 20 if table[at] == 0 else 8
    assert at == length and len(kinds) == count and kinds.count(0) == 2
    assert len(block) <= mm.MP_TABLE_BYTES


def structures(block: bytes, count: int) -> dict[int, tuple[bytes, list[bytes]]]:
    found, at = {}, 0
    for _ in range(count):
        kind, length = block[at], block[at + 1]
        end = block.index(b"\0\0", at + length) + 2
        found[kind] = (block[at : at + length], block[at + length : end - 2].split(b"\0"))
        at = end
    assert at == len(block)
    return found


def test_smbios_structures() -> None:
    block = smbios.build(MemoryMap(4 * GIB), "x86-64-v2", uuid.UUID(int=5))
    entry, rest = block[:32], block[32:]
    assert entry[:4] == b"_SM_" and sum(entry[:31]) & 0xFF == 0
    assert entry[16:21] == b"_DMI_" and sum(entry[16:31]) & 0xFF == 0
    length, address, count = struct.unpack_from("<HIH", entry, 22)
    assert length == len(rest) and address == mm.SMBIOS_BASE + 32
    found = structures(rest, count)
    assert set(found) == {0, 1, 4, 16, 17, 19, 32, 127}
    assert found[1][1][0] == b"Ringfence"
    assert b"x86-64-v2" in found[4][1]
    assert struct.unpack_from("<H", found[17][0], 12)[0] == 4096  # MiB
    for kind, length in ((0, 24), (1, 27), (4, 42), (16, 23), (17, 34), (19, 31)):
        assert len(found[kind][0]) == length, kind
    assert len(block) <= mm.SMBIOS_BYTES


def test_the_bios_data_area(memory: FakeMemory) -> None:
    bios_data.write(memory, MemoryMap(64 * MIB), "x86-64-v2", 1)
    assert struct.unpack("<H", memory.read(0x40E, 2))[0] << 4 == mm.EBDA_BASE
    assert struct.unpack("<H", memory.read(0x413, 2))[0] == 639
    assert memory.read(mm.ACPI_BASE, 8) == b"RSD PTR "
    assert memory.read(mm.MP_TABLE_BASE, 4) == b"_MP_"
    assert memory.read(mm.SMBIOS_BASE, 4) == b"_SM_"
