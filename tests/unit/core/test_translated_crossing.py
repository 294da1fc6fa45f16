"""Translated instructions that lie in two pages: SDM vol. 3, 4.10.2 (each page has its own mapping)."""

from __future__ import annotations

import struct

import pytest
from rig import HLT, TABLES, Rig

PAGE, NEXT = 0x10000, 0x11000
#: turns: translated, and the page's code comes to it over and over
TURNS = 64


def crossing(rig: Rig, instruction: str, before: int) -> None:
    """``instruction`` with ``before`` bytes on the first page, then RET."""
    rig.memory.write(NEXT - before, bytes.fromhex(instruction) + b"\xc3")


def call_in_a_loop(rig: Rig, target: int) -> None:
    rig.regs.rbx, rig.regs.rax = target, 0
    # mov ecx, TURNS; next: call rbx; dec ecx; jnz next; hlt
    rig.run(f"b9{struct.pack('<I', TURNS).hex()}" + "ffd3" + "ffc9" + "75fa" + HLT.hex())


@pytest.fixture(params=["long", "protected"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param, engine="translate")


@pytest.mark.parametrize("before", [1, 3, 4])
def test_runs_as_translated_code(rig: Rig, before: int) -> None:
    crossing(rig, "0510000000", before)  # add eax, 16
    call_in_a_loop(rig, NEXT - before)
    assert rig.regs.rax == 16 * TURNS
    assert rig.cpu.counters()["interpreted_blocks"] < TURNS // 2


def test_is_reached_by_a_jump_within_its_first_page(rig: Rig) -> None:
    crossing(rig, "0510000000", 2)
    rig.memory.write(NEXT - 16, b"\xeb\x0c")  # jmp to it
    call_in_a_loop(rig, NEXT - 16)
    assert rig.regs.rax == 16 * TURNS


@pytest.mark.parametrize("offset", [1, 4])
def test_is_dropped_when_either_page_is_written(rig: Rig, offset: int) -> None:
    """The immediate begins on the first page, with the second byte; its last byte is on the second page."""
    crossing(rig, "0510000000", 3)
    call_in_a_loop(rig, NEXT - 3)
    rig.memory.write(NEXT - 3 + offset, b"\x01")
    call_in_a_loop(rig, NEXT - 3)
    immediate = int.from_bytes(rig.memory.read(NEXT - 2, 4), "little")
    assert immediate != 16 and rig.regs.rax == immediate * TURNS & 0xFFFFFFFF


def test_follows_its_second_page_to_another_mapping() -> None:
    rig = Rig("long", engine="translate")
    crossing(rig, "0510000000", 3)
    other = 0x50000
    rig.memory.write(other, bytes.fromhex("0007") + b"\xc3")  # add eax, 0x07000010
    call_in_a_loop(rig, NEXT - 3)
    assert rig.regs.rax == 16 * TURNS
    rig.memory.write(TABLES + 0x3000 + 8 * (NEXT >> 12), struct.pack("<Q", other | 7))
    rig.regs.rdx = NEXT
    rig.run("0f013a" + HLT.hex())  # invlpg [rdx]
    call_in_a_loop(rig, NEXT - 3)
    assert rig.regs.rax == 0x07000010 * TURNS & 0xFFFFFFFF


def test_keeps_apart_what_two_address_spaces_have_behind_the_same_page() -> None:
    """The first page is the same one at the same address; a task switch changes the second."""
    rig = Rig("long", engine="translate")
    crossing(rig, "0510000000", 3)
    other = 0x50000
    rig.memory.write(other, bytes.fromhex("0007") + b"\xc3")
    for turn in range(6):
        rig.set_page(NEXT, (other if turn % 2 else NEXT) | 7)
        call_in_a_loop(rig, NEXT - 3)
        assert rig.regs.rax == (0x07000010 if turn % 2 else 16) * TURNS & 0xFFFFFFFF


def test_faults_where_the_second_page_is_missing() -> None:
    rig = Rig("long", engine="translate")
    crossing(rig, "0510000000", 3)
    call_in_a_loop(rig, NEXT - 3)
    rig.set_page(NEXT, 0)
    call_in_a_loop(rig, NEXT - 3)
    assert rig.vector == 14 and rig.regs.cr2 == NEXT
