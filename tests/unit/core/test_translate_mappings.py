"""Translated code that has run often, and then is mapped elsewhere, forbidden, or run with other rights."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, CODE3, DATA3, DB, HANDLERS, PRESENT_CODE, STACK3, TABLES, G, Rig, descriptor
from twins import Twins, counter

#: a page of code and the two frames that it may be, and a page of the supervisor's
FUNCTION, FRAME_1, FRAME_2, ALIAS, SECRET = 0x60000, 0x70000, 0x71000, 0x61000, 0x62000
ENTRY = TABLES + 0x3000 + 8 * (FUNCTION >> 12)
BP, UD, GP, PF = 3, 6, 13, 14
NX, SMEP, SMAP = 1 << 63, 1 << 20, 1 << 21
TURNS = 100
HLT = "f4"

INVLPG = "410f0138"  # invlpg [r8]
RELOAD_CR3 = "0f20da0f22da"  # mov rdx,cr3; mov cr3,rdx
TOGGLE_PGE = "0f20e280f2800f22e2"  # mov rdx,cr4; xor dl,0x80; mov cr4,rdx

CALLS = {
    "indirect call": "41ffd0",  # call r8
    "call through memory": "41ff11",  # call [r9]
}


@pytest.fixture
def twins() -> Twins:
    """FUNCTION is FRAME_1, which adds 1 to RAX; FRAME_2 adds 16."""
    found = Twins()
    found.each(prepare)
    return found


def prepare(rig: Rig) -> None:
    rig.memory.write(FRAME_1, bytes.fromhex("4883c001c3"))
    rig.memory.write(FRAME_2, bytes.fromhex("4883c010c3"))
    rig.memory.write(0x50000, struct.pack("<Q", FUNCTION))
    rig.set_page(FUNCTION, FRAME_1 | 7)
    rig.regs.efer |= 0x800


@pytest.mark.parametrize("forget", [INVLPG, RELOAD_CR3, TOGGLE_PGE])
@pytest.mark.parametrize("call", ["indirect call", "call through memory", "direct call"])
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (FRAME_2 | 7, TURNS + 16),
        (0, PF),
        (FRAME_1 | 7 | NX, PF),
        (FRAME_1 | 5, TURNS + 1),
        (FRAME_1 | 3, TURNS + 1),
    ],
)
def test_code_that_is_mapped_elsewhere(
    twins: Twins, call: str, forget: str, entry: int, expected: int
) -> None:
    """Called often, then its entry changes and is forgotten, then called once more."""
    relative = "e8" + struct.pack("<i", FUNCTION - CODE - 10).hex()
    code = relative if call == "direct call" else CALLS[call]
    loop = f"b9{TURNS:02x}000000" + code + "ffc975" + f"{256 - 4 - len(code) // 2:02x}"
    loop += "4d891e" + forget  # mov [r14],r11
    at = CODE + len(loop) // 2
    loop += "e8" + struct.pack("<i", FUNCTION - at - 5).hex() if call == "direct call" else code
    rig = twins.run(loop + HLT, rax=0, r8=FUNCTION, r9=0x50000, r14=ENTRY, r11=entry)
    if expected == PF:
        assert rig.vector == PF and rig.regs.cr2 == FUNCTION
    else:
        assert rig.vector is None and rig.regs.rax == expected
    assert counter(rig, "translations") > 2


@pytest.mark.parametrize("forget", [INVLPG, RELOAD_CR3])
def test_the_running_page_is_mapped_elsewhere(twins: Twins, forget: str) -> None:
    """Both frames have the same loop; only what follows it is different."""
    # again: dec ecx; jnz again; mov [r14],r11; forget; jmp .+2; mov eax,N; hlt
    code = "ffc975fc4d891e" + forget + "eb00b8{:02x}000000f4"
    for rig in (twins.interpreting, twins.translating):
        rig.memory.write(FRAME_1, bytes.fromhex(code.format(1)))
        rig.memory.write(FRAME_2, bytes.fromhex(code.format(2)))
    for entry, expected in ((FRAME_1 | 7, 1), (FRAME_2 | 7, 2)):
        rig = twins.run("41ffe0", rcx=TURNS, r8=FUNCTION, r14=ENTRY, r11=entry)
        assert rig.regs.rax == expected


def test_one_frame_at_two_addresses(twins: Twins) -> None:
    """Its addresses are its own: RIP-relative operands, return addresses, constants of jumps."""
    for rig in (twins.interpreting, twins.translating):
        # lea rax,[rip]; call .+0; pop rdx; add [rip+0x100],rcx; ret
        rig.memory.write(FRAME_1, bytes.fromhex("488d0500000000e8000000005a48010d00010000c3"))
        rig.set_page(ALIAS, FRAME_1 | 7)
    # again: call r8; mov rsi,rax; mov rdi,rdx; call r9; dec ecx; jnz again; hlt
    rig = twins.run("41ffd04889c64889d741ffd1ffc975f0f4", rcx=TURNS, r8=FUNCTION, r9=ALIAS)
    assert (rig.regs.rsi, rig.regs.rdi) == (FUNCTION + 7, FUNCTION + 12)
    assert (rig.regs.rax, rig.regs.rdx) == (ALIAS + 7, ALIAS + 12)


def test_code_written_through_an_alias_changes_at_both(twins: Twins) -> None:
    for rig in (twins.interpreting, twins.translating):
        rig.set_page(ALIAS, FRAME_1 | 7)
    # again: call r8; call r9; inc byte [r9+3]; dec ecx; jnz again; hlt
    rig = twins.run("41ffd041ffd141fe4103ffc975f2f4", rax=0, rcx=10, r8=FUNCTION, r9=ALIAS)
    assert rig.regs.rax == 2 * sum(range(1, 11))


def to_ring_3(at: int) -> str:
    """IRETQ to ring 3."""
    slots = (DATA3, STACK3, 2, CODE3, at)
    return "".join("68" + struct.pack("<I", slot).hex() for slot in slots) + "48cf"


#: what the supervisor may and a user may not: code of FUNCTION, and the user's exception
RIGHTS = {
    "a load": (f"8a0425{struct.pack('<I', SECRET).hex()}c3", PF),
    "a store": (f"880425{struct.pack('<I', SECRET).hex()}c3", PF),
    "CLI": ("fac3", GP),
    "SWAPGS": ("0f01f80f01f8c3", GP),
    "a read of CR0": ("0f20c0c3", GP),
}


@pytest.mark.parametrize("name", RIGHTS)
def test_what_ring_0_ran_often_ring_3_may_not(twins: Twins, name: str) -> None:
    code, vector = RIGHTS[name]
    for rig in (twins.interpreting, twins.translating):
        rig.memory.write(FRAME_1, bytes.fromhex(code))
        rig.set_page(SECRET, SECRET | 3)
    # again: call r8; dec ecx; jnz again; then FUNCTION in ring 3
    rig = twins.run("41ffd0ffc975f9" + to_ring_3(FUNCTION), rcx=TURNS, r8=FUNCTION)
    assert rig.vector == vector
    assert counter(rig, "translations") >= 2


def ring_3_first(rig: Rig, code: str) -> None:
    """Ring 3 runs FUNCTION often, then INT3, whose handler jumps to it in ring 0."""
    # again: call r8; dec ecx; jnz again; int3
    rig.memory.write(0x63000, bytes.fromhex("41ffd0ffc975f9cc"))
    rig.memory.write(0x64000, bytes.fromhex("41ffe0"))
    rig.set_page(0x64000, 0x64000 | 3)
    for low in (CODE, HANDLERS):
        rig.set_page(low, low | 3)
    rig.set_idt(BP, 0xEE, offset=0x64000)
    rig.memory.write(FRAME_1, bytes.fromhex(code))


def test_what_ring_3_may_not_ring_0_may(twins: Twins) -> None:
    """A user's page that reads a flag to say where it is: ring 3 takes the other way."""
    twins.each(lambda rig: ring_3_first(rig, "8cc8a8037401c3" + f"8a0425{struct.pack('<I', SECRET).hex()}f4"))
    twins.each(lambda rig: rig.set_page(SECRET, SECRET | 3))
    rig = twins.run(to_ring_3(0x63000), rcx=TURNS, r8=FUNCTION, rax=0)
    assert rig.regs.rip == FUNCTION + 15 and rig.vector is None


@pytest.mark.parametrize("bits", [SMEP, SMAP, SMEP | SMAP])
def test_smep_keeps_ring_0_from_what_ring_3_ran(twins: Twins, bits: int) -> None:
    twins.each(lambda rig: ring_3_first(rig, "8cc8a8037401c3f4"))
    for rig in (twins.interpreting, twins.translating):
        for page in (0x2000, 0x3000, 0x1000, *range(0x1E000, 0x21000, 0x1000)):
            rig.set_page(page, page | 3)
        rig.regs.cr4 |= bits
    rig = twins.run(to_ring_3(0x63000), rcx=TURNS, r8=FUNCTION, rax=0)
    assert rig.vector == PF if bits & SMEP else rig.regs.rip == FUNCTION + 8


def test_smap_with_ac_and_without(twins: Twins) -> None:
    """The same load of the user's page by the supervisor: allowed under AC, then not."""
    for rig in (twins.interpreting, twins.translating):
        for page in range(0, 0x30000, 0x1000):
            rig.set_page(page, page | 3)
        rig.set_page(FUNCTION, FRAME_1 | 3)
        rig.memory.write(FRAME_1, bytes.fromhex("8a0425" + struct.pack("<I", SECRET).hex() + "c3"))
        rig.regs.cr4 |= SMAP
    # stac; again: call r8; dec ecx; jnz again; clac; call r8; hlt
    rig = twins.run("0f01cb41ffd0ffc975f90f01ca41ffd0f4", rcx=TURNS, r8=FUNCTION)
    assert rig.vector == PF and rig.regs.cr2 == SECRET


def test_the_same_bytes_in_compatibility_mode(twins: Twins) -> None:
    """48 FF C0 is INC RAX, or DEC EAX and INC EAX: the flags say which, and so does RAX."""
    for rig in (twins.interpreting, twins.translating):
        rig.set_gdt(0x50, descriptor(0, 0xFFFFF, PRESENT_CODE | G | DB))
        rig.memory.write(FRAME_1, bytes.fromhex("48ffc0c3"))
        # mov ecx,TURNS; again: call edi; dec ecx; jnz again; hlt
        rig.memory.write(0x63000, bytes.fromhex("b964000000ffd74975fbf4"))
    # again: call rdi; dec ecx; jnz again; push 0x50; push 0x63000; retfq
    rig = twins.run("ffd7ffc975fa6a50680030060048cb", rcx=TURNS, rdi=FUNCTION, rax=0)
    assert rig.vector is None and rig.regs.rax == TURNS and rig.regs.rip == 0x6300B
