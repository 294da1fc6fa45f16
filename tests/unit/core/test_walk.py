"""The page walk: SDM vol. 3, chapter 4."""

from __future__ import annotations

import struct

import pytest
from rig import TABLES, Rig

PAGE = 0x50000
ACCESSED, DIRTY = 1 << 5, 1 << 6
PF = 14


def entries(rig: Rig) -> list[int]:
    """The four entries that map PAGE, from the top."""
    places = [TABLES + 0x1000 * level for level in range(3)] + [TABLES + 0x3000 + 8 * (PAGE >> 12)]
    return [struct.unpack("<Q", rig.memory.read(place, 8))[0] for place in places]


def clear(rig: Rig, pte: int) -> None:
    """PAGE's entry is ``pte``, and no table above it has been used."""
    rig.set_page(PAGE, pte)
    for level in range(3):
        place = TABLES + 0x1000 * level
        rig.memory.write(place, struct.pack("<Q", entries(rig)[level] & ~ACCESSED))


@pytest.mark.parametrize(
    ("code", "bits"), [("8a042500000500", ACCESSED), ("88042500000500", ACCESSED | DIRTY)]
)  # mov al, [PAGE]; mov [PAGE], al
def test_access_sets_accessed_at_every_level_and_dirty_in_the_leaf(code: str, bits: int) -> None:
    rig = Rig("long")
    clear(rig, PAGE | 7)
    rig.run(code + "f4")
    assert rig.vector is None
    assert [entry & (ACCESSED | DIRTY) for entry in entries(rig)] == [ACCESSED] * 3 + [bits]


def test_a_walk_that_faults_leaves_the_leaf_alone() -> None:
    rig = Rig("long")
    clear(rig, PAGE | 6)
    rig.run("8a042500000500f4")
    assert rig.vector == PF and rig.regs.cr2 == PAGE
    assert entries(rig)[3] & (ACCESSED | DIRTY) == 0


def test_a_walk_that_faults_leaves_the_tables_alone() -> None:
    """A table that only the faulting access uses: its second 2 MiB."""
    rig = Rig("long")
    pde = TABLES + 0x2008
    rig.memory.write(pde, struct.pack("<Q", TABLES + 0x4000 | 7))
    rig.memory.write(TABLES + 0x4000, bytes(4096))
    rig.run("8a042500002000f4")  # mov al, [0x200000]
    assert rig.vector == PF and rig.regs.cr2 == 0x200000
    assert rig.memory.read(pde, 1)[0] & ACCESSED == 0


def test_recursive_mapping_keeps_the_dirty_bit() -> None:
    """A write through a table that maps itself: its entry is table and leaf at once."""
    rig = Rig("long")
    loop = TABLES + 8 * 511
    rig.memory.write(loop, struct.pack("<Q", TABLES | 3))
    rig.regs.cr3 = TABLES
    gva = 0xFFFF_FFFF_FFFF_F800  # entry 256 of the table itself
    rig.run(b"\x48\xb8" + struct.pack("<Q", gva) + bytes.fromhex("c60000f4"))  # mov byte [rax], 0
    assert rig.vector is None
    assert rig.memory.read(loop, 1)[0] & (ACCESSED | DIRTY) == ACCESSED | DIRTY
