"""Paging in every mode against a walk written anew from the manual: SDM vol. 3, chapter 4."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paging_model import LEVELS, NX, PS, A, Access, Control, D, P, U, W, expect
from rig import CODE, STACK3, Rig

PF, GP = 14, 13
#: where the tables of these tests are; the frame that every leaf ends up at
ROOT, TABLE, FRAME = 0x80000, 0x90000, 0x300000
WP, AC = 1 << 16, 1 << 18
PSE, PAE, PGE, SMEP, SMAP = 1 << 4, 1 << 5, 1 << 7, 1 << 20, 1 << 21
#: an address that nothing else uses; its low 30 (22) bits lead to FRAME through large pages too
GVA = {"32-bit": 0x8030_0000, "pae": 0x4030_0000, "4-level": 1 << 39 | 0x30_0000}
ADDRESS = (1 << 40) - (1 << 12)
FRAMES = {22: 0, 30: 0, 21: 0x20_0000, 12: FRAME}


class Paged(Rig):
    """The rig with tables of its own: the low 2 MiB as they are, and one path to look at."""

    def __init__(self, mode: str, control: Control, access: Access) -> None:
        super().__init__("long" if mode == "4-level" else "protected")
        self.paging = mode
        self.wide = 4 if mode == "32-bit" else 8
        self.places: list[int] = []
        self.map_low(access.is_user)
        self.make_path()
        self.regs.cr3 = ROOT
        cr4 = PSE * control.pse | PAE * (mode != "32-bit") | SMEP * control.smep | SMAP * control.smap
        self.regs.efer = (0x501 if mode == "4-level" else 0) | 0x800 * control.nxe
        self.regs.cr4 = cr4
        self.regs.cr0 = 0x8000_0011 | WP * control.wp
        self.set_ring(3 if access.is_user else 0)
        self.regs.rflags = AC if access.with_ac else 2

    def put(self, gpa: int, entry: int) -> None:
        self.memory.write(gpa, entry.to_bytes(self.wide, "little"))

    def get(self, gpa: int) -> int:
        return int.from_bytes(self.memory.read(gpa, self.wide), "little")

    def map_low(self, is_user: bool) -> None:
        """The first 2 MiB at themselves; code and stack of ring 3 for the user."""
        table, above = TABLE, [TABLE + 0x1000, TABLE + 0x2000]
        for page in range(512):
            rights = U if is_user and page << 12 in (CODE, STACK3 - 0x1000) else 0
            self.put(table + page * self.wide, page << 12 | P | W | rights)
        if self.paging == "32-bit":
            self.put(ROOT, table | P | W | U)
            return
        self.put(above[0], table | P | W | U)
        if self.paging == "pae":
            self.put(ROOT, above[0] | P)
        else:
            self.put(above[1], above[0] | P | W | U)
            self.put(ROOT, above[1] | P | W | U)

    def make_path(self) -> None:
        """Addresses of the entries that GVA is walked through, from the top."""
        gva, table = GVA[self.paging], ROOT
        if self.paging == "pae":
            self.put(ROOT + 8, 0xA0000 | P)
            table = 0xA0000
        index_mask = 0x3FF if self.wide == 4 else 0x1FF
        for number, level in enumerate(LEVELS[self.paging]):
            self.places.append(table + (gva >> level.shift & index_mask) * self.wide)
            table = 0xB0000 + 0x1000 * number

    def fill(self, flags: list[int]) -> list[int]:
        """Entries with these flags; those with PS where it makes a leaf point at the frame."""
        entries = []
        for number, (level, flag) in enumerate(zip(LEVELS[self.paging], flags, strict=True)):
            is_leaf = level.shift == 12 or (flag & PS and level.may_be_leaf)
            if not is_leaf or level.shift == 12:
                flag &= ~ADDRESS
            entry = (FRAMES[level.shift] if is_leaf else 0xB0000 + 0x1000 * number) | flag
            entries.append(entry)
            self.put(self.places[number], entry)
        self.regs.cr3 = ROOT
        return entries

    def access(self, access: Access) -> tuple[int | None, int]:
        """Do it: error code of the page fault or None, and CR2."""
        gva = GVA[self.paging]
        move = b"\x48\xba" + struct.pack("<Q", gva) if self.wide_code else b"\xba" + struct.pack("<I", gva)
        self.memory.write(FRAME, b"\xf4")
        # mov al, [rdx]; mov [rdx], al; jmp rdx
        self.run(move + {"r": b"\x8a\x02", "w": b"\x88\x02", "x": b"\xff\xe2"}[access.kind] + b"\xf4")
        if self.vector == PF:
            return self.stack(1)[0], self.regs.cr2
        expected = GP if access.is_user else None  # HLT in ring 3
        assert self.vector == expected
        return None, 0

    @property
    def wide_code(self) -> bool:
        return self.paging == "4-level"


rights = st.sampled_from([P | W | U, P | W | U, P | W | U, P | W, P | U, P, 0])
EXTRAS = (0, 0, 0, 0, 0, A, D, PS, PS, PS | 1 << 8, NX, 1 << 21, 1 << 13, 1 << 40, 1 << 52, 1 << 62)
extras = st.sampled_from(EXTRAS)
flags = st.builds(lambda r, e: r | e, rights, extras)
controls = st.builds(Control, *(st.booleans() for _ in range(5)))
accesses = st.builds(Access, st.sampled_from("rwx"), st.booleans(), st.booleans())


@pytest.mark.parametrize("mode", LEVELS)
@settings(max_examples=250, derandomize=True, suppress_health_check=list(HealthCheck))
@given(control=controls, access=accesses, data=st.data())
def test_walk_as_the_manual_says(mode: str, control: Control, access: Access, data: st.DataObject) -> None:
    rig = Paged(mode, control, access)
    chosen = data.draw(st.lists(flags, min_size=len(rig.places), max_size=len(rig.places)))
    if rig.wide == 4:
        # bit 13 of a 4 MiB page is bit 32 of its address
        chosen = [flag & 0xFFFF_DFFF for flag in chosen]
    entries = rig.fill(chosen)
    if mode == "32-bit" and not control.pse:
        # then PS is ignored, and the entry points at the next table
        entries[0] = 0xB0000 | chosen[0] & ~ADDRESS
        rig.put(rig.places[0], entries[0])
    error, _, after = expect(mode, control, access, entries)
    found, cr2 = rig.access(access)
    assert found == error
    assert cr2 == (GVA[mode] if error is not None else 0)
    assert [rig.get(place) for place in rig.places] == after
