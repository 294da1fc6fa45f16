"""Ways out of its privilege, or out of its memory, that a guest would try on translated code."""

from __future__ import annotations

import pytest
from rig import CODE, DB, MEMORY_BYTES, PRESENT_CODE, PRESENT_DATA, STACK0, G, L, descriptor
from translated_code import translating_rig

FUNCTION, USER, SECRET = 0x10000, 0x11000, 0x60000
#: mov rax,[rbx]; dec rcx; jnz back; hlt
LOOP = bytes.fromhex("488b0348ffc975f8f4")


@pytest.mark.parametrize("upper", [0, 0x10, 0x11, 0xFFEF, 0x40, 0x7FFF])
def test_an_address_made_up_to_match_the_supervisors_jump_cache(upper: int) -> None:
    """The cache's tag holds the mode too: no upper bits of a target may cancel it out."""
    rig = translating_rig()
    rig.set_page(SECRET, SECRET | 3)
    rig.memory.write(FUNCTION, bytes.fromhex("48891fc3"))  # mov [rdi],rbx; ret
    rig.memory.write(USER, bytes.fromhex("48c7c302000000ffe0"))  # mov rbx,2; jmp rax
    # call rdx three times, then iretq to USER in ring 3
    code = bytes.fromhex("ffd2ffd2ffd26a2368000003006a026a1b680010010048cf")
    rig.regs.rdi, rig.regs.rbx, rig.regs.rdx = SECRET, 1, FUNCTION
    rig.regs.rax = FUNCTION ^ upper << 48
    rig.run(code)
    assert rig.vector in (13, 14)
    assert rig.memory.read(SECRET, 1) == b"\1"


@pytest.mark.parametrize("page", [0xFFFFFFFFFFFFE000, 0xFFFFFFFFFFFFF000, 0x7FFFFFFFE000, 0xFFFF800000000000])
def test_an_address_made_up_to_match_an_empty_slot(page: int) -> None:
    rig = translating_rig()
    rig.load(LOOP)
    rig.regs.rbx, rig.regs.rcx = STACK0, 3_000_000
    rig.go_on()
    found = rig.cpu.translations()
    assert found is not None and any(block.is_hot for block in found.blocks)
    # writing CR3 empties the slots; run the same code again
    rig.regs.cr3 = rig.regs.cr3
    record = rig.cpu.save()
    rig.cpu.restore(record[:4] + bytes(4) + record[8:])
    rig.regs.rip, rig.regs.rcx, rig.regs.rbx = CODE, 1, page + 0x10
    rig.go_on()
    assert rig.vector == 14 and rig.regs.cr2 == page + 0x10


def test_the_empty_slots_own_page_is_nowhere() -> None:
    rig = translating_rig()
    rig.load(bytes.fromhex("48890348ffc975f8f4"))  # mov [rbx],rax; dec rcx; jnz back; hlt
    rig.regs.rbx, rig.regs.rcx = STACK0, 3_000_000
    rig.go_on()
    rig.regs.cr3 = rig.regs.cr3
    record = rig.cpu.save()
    rig.cpu.restore(record[:4] + bytes(4) + record[8:])
    rig.regs.rip, rig.regs.rcx, rig.regs.rbx, rig.regs.rax = CODE, 1, 0x8000000000000FF8, 0x5555
    low, high = rig.memory.read(0, STACK0 - 0x1000), rig.memory.read(STACK0, MEMORY_BYTES - STACK0)
    rig.go_on()
    # the frame of a fault may be below STACK0
    assert rig.memory.read(0, STACK0 - 0x1000) == low
    assert rig.memory.read(STACK0, MEMORY_BYTES - STACK0) == high


def test_a_window_further_down_than_a_displacement_reaches() -> None:
    """One probe for two accesses 2 GiB below their base: what it checks must not come out 4 GiB above."""
    rig = translating_rig()
    # mov rdx,[rsi]; jmp .+2; mov rax,[rbx-0x7ffffff8]; sub rbx,0x100; mov rcx,[rbx-0x7ffffff8]; hlt
    rig.load(bytes.fromhex("488b16eb00488b83080000804881eb00010000488b8b08000080f4"))
    rig.regs.rsi = STACK0
    rig.regs.rbx = STACK0 - 0x7FFFFF08 & (1 << 64) - 1
    rig.go_on()
    assert rig.vector == 14 and rig.regs.cr2 == STACK0 - 0xFFFFFF00 & (1 << 64) - 1


def test_what_ring_0_may_do_in_place_ring_1_may_not() -> None:
    rig = translating_rig()
    rig.set_gdt(0x58, descriptor(0, 0xFFFFF, PRESENT_CODE | 0x20 | G | L))
    rig.set_gdt(0x60, descriptor(0, 0xFFFFF, PRESENT_DATA | 0x20 | G | DB))
    rig.memory.write(FUNCTION, bytes.fromhex("faffe7"))  # cli; jmp rdi
    rig.memory.write(USER, bytes.fromhex("bf07100100ffe2f4"))  # mov edi,.+7; jmp rdx; hlt
    # mov edi,.+7; jmp rdx; then iretq to USER in ring 1, IOPL 0, IF set
    code = bytes.fromhex("bf07800000ffe26a61680000030068020200006a59680010010048cf")
    rig.regs.rdx = FUNCTION
    rig.run(code)
    assert rig.vector == 13
    assert rig.stack(2)[1] == FUNCTION
