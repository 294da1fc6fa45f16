"""What the TLB may keep and what it must forget (SDM vol. 3, 4.10), and accesses across two pages."""

from __future__ import annotations

import struct

import pytest
from rig import TABLES, Rig

PF = 14
A, B, THIRD = 0x50000, 0x51000, 0x52000
FRAME_1, FRAME_2 = 0x60000, 0x70000
GLOBAL, DIRTY = 1 << 8, 1 << 6
LOAD = "8a042500000500"  # mov al, [A]
STORE = "88042500000500"  # mov [A], al
RELOAD_CR3 = "0f20da0f22da"  # mov rdx, cr3; mov cr3, rdx
INVLPG = "0f013c2500000500"  # invlpg [A]
HLT = "f4"


@pytest.fixture
def rig() -> Rig:
    found = Rig("long")
    found.memory.write(FRAME_1, b"\x11")
    found.memory.write(FRAME_2, b"\x22")
    return found


def entry_of(gva: int) -> int:
    return TABLES + 0x3000 + 8 * (gva >> 12)


def set_entry(rig: Rig, gva: int, entry: int) -> None:
    """Write the entry behind the processor's back."""
    rig.memory.write(entry_of(gva), struct.pack("<Q", entry))


def change_entry(entry: int) -> str:
    """Code of the guest that does it: mov rcx, entry_of(A); mov qword [rcx], entry."""
    at, value = struct.pack("<I", entry_of(A)), struct.pack("<I", entry)
    return (b"\x48\xc7\xc1" + at + b"\x48\xc7\x01" + value).hex()


@pytest.mark.parametrize("forget", [INVLPG, RELOAD_CR3])
def test_a_changed_entry_is_seen_after_invlpg_or_cr3(rig: Rig, forget: str) -> None:
    set_entry(rig, A, FRAME_1 | 7)
    rig.run(LOAD + change_entry(FRAME_2 | 7) + forget + LOAD + HLT)
    assert rig.regs.rax & 0xFF == 0x22


def test_global_pages_outlive_cr3_and_not_cr4_pge(rig: Rig) -> None:
    rig.regs.cr4 = 0xA0
    set_entry(rig, A, FRAME_1 | 7 | GLOBAL)
    rig.run(LOAD + change_entry(FRAME_2 | 7 | GLOBAL) + RELOAD_CR3 + LOAD + HLT)
    assert rig.regs.rax & 0xFF == 0x11
    toggle_pge = "0f20e2" + "80f280" + "0f22e2"  # mov rdx, cr4; xor dl, 0x80; mov cr4, rdx
    rig.run(toggle_pge + LOAD + HLT)
    assert rig.regs.rax & 0xFF == 0x22


def test_a_page_that_becomes_present_needs_no_flush(rig: Rig) -> None:
    set_entry(rig, A, 0)
    rig.run(LOAD + HLT)
    assert rig.vector == PF
    set_entry(rig, A, FRAME_2 | 7)
    rig.run(LOAD + HLT)
    assert rig.vector is None and rig.regs.rax & 0xFF == 0x22


def test_more_rights_need_no_flush(rig: Rig) -> None:
    rig.regs.cr0 |= 1 << 16
    set_entry(rig, A, FRAME_1 | 5)
    rig.run(LOAD + STORE + HLT)
    assert rig.vector == PF and rig.stack(1)[0] == 3
    set_entry(rig, A, FRAME_1 | 7)
    rig.run(LOAD + STORE + HLT)
    assert rig.vector is None


def test_wp_takes_effect_at_once(rig: Rig) -> None:
    """A supervisor's write that the TLB allowed is refused once CR0.WP is set."""
    set_entry(rig, A, FRAME_1 | 5)
    set_wp = "0f20c2" + "0fbaea10" + "0f22c2"  # mov rdx, cr0; bts edx, 16; mov cr0, rdx
    rig.run(STORE + set_wp + STORE + HLT)
    assert rig.vector == PF and rig.stack(1)[0] == 3


def test_the_first_write_sets_dirty_though_a_read_filled_the_tlb(rig: Rig) -> None:
    set_entry(rig, A, FRAME_1 | 7)
    rig.run(LOAD + HLT)
    assert rig.memory.read(entry_of(A), 1)[0] & DIRTY == 0
    rig.run(STORE + HLT)
    assert rig.memory.read(entry_of(A), 1)[0] & DIRTY


def test_invlpg_takes_a_large_page_whole(rig: Rig) -> None:
    """Two addresses of one 2 MiB page: INVLPG of one forgets the other too."""
    pde = TABLES + 0x2008
    rig.memory.write(pde, struct.pack("<Q", 0x20_0000 | 0x87))
    rig.memory.write(0x20_0000, b"\x33")
    rig.memory.write(0, b"\x44")
    load = "8a042500002000"  # mov al, [0x200000]
    change = (b"\x48\xc7\xc1" + struct.pack("<I", pde) + b"\x48\xc7\x01" + struct.pack("<I", 0x87)).hex()
    rig.run(load + change + "0f013c2500702500" + load + HLT)  # invlpg [0x257000]
    assert rig.regs.rax & 0xFF == 0x44


def test_rights_of_ring_3_are_not_those_of_ring_0(rig: Rig) -> None:
    set_entry(rig, A, FRAME_1 | 3)
    rig.run(LOAD + HLT)
    assert rig.vector is None
    rig.set_ring(3)
    rig.run(LOAD + HLT)
    assert rig.vector == PF and rig.stack(1)[0] == 5


@pytest.mark.parametrize("at", range(1, 8))
def test_an_operand_across_two_frames(rig: Rig, at: int) -> None:
    """The second page's frame lies before the first one's."""
    set_entry(rig, A, FRAME_2 | 7)
    set_entry(rig, B, FRAME_1 | 7)
    rig.regs.cr3 = TABLES
    rig.regs.rdx, rig.regs.rax = B - at, 0x8877665544332211
    rig.run("488902" + "488b1a" + "48ff02" + HLT)  # mov [rdx], rax; mov rbx, [rdx]; inc qword [rdx]
    assert rig.vector is None and rig.regs.rbx == 0x8877665544332211
    found = rig.memory.read(FRAME_2 + 0x1000 - at, at) + rig.memory.read(FRAME_1, 8 - at)
    assert found == struct.pack("<Q", 0x8877665544332212)


@pytest.mark.parametrize(
    "code",
    [
        "488902",  # mov [rdx], rax
        "48870a",  # xchg [rdx], rcx
        "f0480fc10a",  # lock xadd [rdx], rcx
        "0f1102",  # movups [rdx], xmm0
        "db3a",  # fstp tbyte [rdx]
        "480102",  # add [rdx], rax
    ],
)
def test_a_write_that_faults_on_its_second_page_writes_nothing(rig: Rig, code: str) -> None:
    rig.regs.cr4 |= 0x600
    set_entry(rig, A, FRAME_1 | 7)
    set_entry(rig, B, 0)
    rig.memory.write(FRAME_1 + 0xFF0, b"\xaa" * 16)
    rig.regs.rdx, rig.regs.rcx, rig.regs.rax = B - 3, 5, 7
    rig.run(code + HLT)
    assert rig.vector == PF and rig.stack(1)[0] == 2 and rig.regs.cr2 == B
    assert rig.memory.read(FRAME_1 + 0xFF0, 16) == b"\xaa" * 16
    assert (rig.regs.rcx, rig.regs.rax, rig.regs.rdx) == (5, 7, B - 3)


def test_an_instruction_across_two_frames(rig: Rig) -> None:
    set_entry(rig, A, FRAME_2 | 7)
    set_entry(rig, B, FRAME_1 | 7)
    rig.memory.write(FRAME_2 + 0xFFD, b"\x48\xb8\x88")  # mov rax, imm64
    rig.memory.write(FRAME_1, b"\x77\x66\x55\x44\x33\x22\x11\xf4")
    rig.regs.rdx = B - 3
    rig.run("ffe2")
    assert rig.vector is None and rig.regs.rax == 0x1122334455667788
    assert rig.regs.rip == B + 8


@pytest.mark.parametrize("at", [1, 3, 9])
def test_an_instruction_whose_second_page_is_missing(rig: Rig, at: int) -> None:
    """#PF with the second page in CR2 and the instruction's start in RIP; then, mapped, it runs."""
    rig.regs.efer |= 0x800
    set_entry(rig, A, FRAME_2 | 7)
    set_entry(rig, B, 0)
    code = b"\x48\xb8" + bytes(range(1, 9)) + b"\xf4"
    rig.memory.write(FRAME_2 + 0x1000 - at, code[:at])
    rig.regs.rdx = B - at
    rig.run("ffe2")
    assert rig.vector == PF and rig.regs.cr2 == B
    assert rig.stack(2) == [0x10, B - at]
    rig.memory.write(FRAME_1, code[at:])
    set_entry(rig, B, FRAME_1 | 7)
    rig.run("ffe2")
    assert rig.regs.rax == int.from_bytes(bytes(range(1, 9)), "little")


def test_decoded_code_follows_the_page_tables(rig: Rig) -> None:
    """One linear address, two frames: what runs is what is mapped."""
    set_entry(rig, A, FRAME_1 | 7)
    rig.memory.write(FRAME_1, bytes.fromhex("b001c3"))  # mov al, 1; ret
    rig.memory.write(FRAME_2, bytes.fromhex("b002c3"))
    call = "ffd3"  # call rbx
    rig.regs.rbx = A
    rig.run(call + "88c4" + change_entry(FRAME_2 | 7) + INVLPG + call + HLT)
    assert rig.regs.rax & 0xFFFF == 0x0102


def test_a_tlb_of_one_address_is_not_that_of_an_alias(rig: Rig) -> None:
    """Two linear addresses of one frame agree; so do addresses whose TLB places coincide."""
    set_entry(rig, A, FRAME_1 | 7)
    set_entry(rig, THIRD, FRAME_1 | 7)
    rig.run("c604250000050099" + "8a042500200500" + HLT)  # mov byte [A], 0x99; mov al, [THIRD]
    assert rig.regs.rax & 0xFF == 0x99


@pytest.mark.parametrize("engine", ["interpret", "translate"])
def test_code_that_is_not_global_follows_cr3_though_a_generation_began_before(rig: Rig, engine: str) -> None:
    rig.cpu.engine = engine
    rig.cpu.tune_translator(1)
    other = TABLES + 0x10000
    pages = [page << 12 | 7 for page in range(512)]
    pages[0x10] = 0x11007
    for level in range(3):
        rig.memory.write(other + 0x1000 * level, struct.pack("<Q", other + 0x1000 * (level + 1) | 7))
    rig.memory.write(other + 0x3000, struct.pack("<512Q", *pages))
    rig.memory.write(0x10000, bytes.fromhex("b801000000c3"))  # mov eax,1; ret
    rig.memory.write(0x11000, bytes.fromhex("b802000000c3"))
    rig.memory.write(0x12000, bytes.fromhex("90c3"))
    rig.regs.rbx, rig.regs.rdx, rig.regs.rcx = 0x10000, 0x12000, other
    # call rbx; call rdx; mov byte [rdx],0xc3 (drops code, so a new generation); call rdx; call rbx
    # mov cr3,rcx; call rbx; hlt
    rig.run("ffd3ffd2c602c3ffd2ffd30f22d9ffd3f4")
    assert rig.regs.rax == 2
