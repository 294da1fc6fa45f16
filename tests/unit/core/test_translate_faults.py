"""A fault in the middle of translated code leaves registers, flags and memory as the interpreter does."""

from __future__ import annotations

import struct

import pytest
from rig import HANDLERS, MEMORY_BYTES, STACK0
from twins import DATA, Twins, counter

#: a page that is not there, one that is read only, and the ends of the pages before them
ABSENT, READ_ONLY = 0x58000, 0x5A000
PF, GP, DE, UD, SS, BP = 14, 13, 0, 6, 12, 3
NOT_CANONICAL = 1 << 47
WRITE_PROTECT = 1 << 16

#: before the instruction: registers and flags change, and those that translated code keeps in memory
BEFORE = (
    "4883c001 4989c2 4d01d3 4101f0 4883eaff"  # add rax,1; mov r10,rax; add r11,r10; add r8d,esi; sub rdx,-1
)
#: and after it nothing of this may have happened, however early the page is asked for
AFTER = "4801c0 4d89c3 488943f0 f4"  # add rax,rax; mov r11,r8; mov [rbx-16],rax; hlt

ACCESSES = {
    "load": "488b03",
    "load of a byte": "8a03",
    "store": "488903",
    "store of a constant": "c70301020304",
    "read-modify-write": "480103",
    "locked": "f0480fb10b",  # lock cmpxchg [rbx],rcx
    "exchange": "48870b",
    "increment that keeps CF": "48ff03",
    "shift by CL": "48d323",
    "push of memory": "ff33",
    "pop to memory": "8f03",
    "indirect call": "ff13",
    "indirect jump": "ff23",
    "vector load": "0f1003",
    "aligned vector load": "0f2803",
    "vector store": "0f1103",
    "vector arithmetic": "660ffe03",
    "x87 load": "dd03",
    "x87 store": "dd1b",
    "string": "4889de ac",  # mov rsi,rbx; lodsb
    "strings": "4889df b903000000 f348ab",  # mov rdi,rbx; mov ecx,3; rep stosq
    "bit string": "480fab0b",
    "division": "48f733",
    "comparison": "483b03",
    "conditional move": "480f4203",
    "flags": "0f9203",
    "two loads": "488b4bf8 488b33",  # mov rcx,[rbx-8]; mov rsi,[rbx]: one probe for both
    "load and store": "488b4bf8 48890b",
    "store and load": "48894bf0 488b4b08",
    "three loads": "488b4bf8 488b33 4c8b4b08",
}

STACK_USES = {
    "push": "50",
    "push of a constant": "6a05",
    "pushes": "50 51 52 53",
    "pop": "59",
    "call": "e800000000",
    "ret": "c3",
    "leave": "4889e5 c9",
    "pushf": "9c",
    "popf": "9d",
    "enter": "c8100000",
    "push and pop": "50 59 59",
    "pop of RSP": "5c",
    "call through a register": "48c7c130900000 ffd1",
}


def plain(code: str) -> str:
    return code.replace(" ", "")


@pytest.fixture(scope="module")
def twins() -> Twins:
    """Warm: each case first runs where nothing faults, so that what faults then is translated."""
    found = Twins()
    for rig in (found.interpreting, found.translating):
        rig.set_page(ABSENT, 0)
        rig.set_page(READ_ONLY, READ_ONLY | 5)
        rig.regs.cr0 |= WRITE_PROTECT
    return found


def examine(twins: Twins, code: str, vectors: tuple[int | None, ...], **registers: int) -> None:
    start: dict[str, int] = {
        name: 0x1111 * k for k, name in enumerate(("rax", "rcx", "rsi", "r8", "r10", "r11"))
    }
    start |= {"rdx": 1, "rbx": DATA + 0x100, "rsp": STACK0 - 0x100, "rflags": 2, "cr2": 0}
    for _ in range(2):
        twins.run(plain(BEFORE + code + AFTER), **start)
    before = counter(twins.translating, "translation_entries")
    rig = twins.run(plain(BEFORE + code + AFTER), **start | registers)
    assert counter(rig, "translation_entries") > before
    assert rig.vector in vectors


@pytest.mark.parametrize("name", ACCESSES)
@pytest.mark.parametrize(
    "at",
    [
        ABSENT,
        ABSENT + 8,
        ABSENT - 1,
        ABSENT - 4,
        READ_ONLY,
        READ_ONLY - 3,
        NOT_CANONICAL,
        NOT_CANONICAL - 1,
        -8 & (1 << 64) - 1,
    ],
    ids=hex,
)
def test_an_access(twins: Twins, name: str, at: int) -> None:
    examine(twins, ACCESSES[name], (PF, GP, DE, SS, None), rbx=at)


@pytest.mark.parametrize("name", STACK_USES)
@pytest.mark.parametrize(
    "at", [ABSENT, ABSENT + 8, ABSENT - 4, ABSENT + 0x1000, ABSENT + 0x1004, NOT_CANONICAL], ids=hex
)
def test_a_use_of_the_stack(twins: Twins, name: str, at: int) -> None:
    """The handler needs a stack of its own. Where nothing faults, RET finds another handler's HLT."""
    for rig in (twins.interpreting, twins.translating):
        for slot in (STACK0 - 0x100, *(gpa for gpa in (at, at + 8) if gpa < MEMORY_BYTES)):
            rig.memory.write(slot, struct.pack("<Q", HANDLERS + 16 * BP))
        for vector in (PF, SS, GP):
            rig.set_idt(vector, 0x8E, ist=1)
    examine(twins, STACK_USES[name], (PF, GP, SS, BP, None), rsp=at)
    for rig in (twins.interpreting, twins.translating):
        for vector in (PF, SS, GP):
            rig.set_idt(vector, 0x8E)
