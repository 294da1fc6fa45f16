"""Counted loops of hot code: the same as the interpreter, to the instruction, wherever they are left."""

from __future__ import annotations

import pytest
from rig import Rig

DATA, END = 0x100000, 0x1F0000
START = DATA + 0x91230
#: fninit; mov rbx, rdi; mov rbp, rsi; mov ecx, edx; the loop; dec r8; jnz again; hlt
HEAD = "dbe34889fb4889f589d1"

LOOPS = {
    "a byte": ("880348ffc300d0", 1),  # mov [rbx],al; inc rbx; add al,dl
    "a word, back": ("4801034883eb08", -8),  # add [rbx],rax; sub rbx,8
    "three at a time": ("8803300b4883c303", 3),  # mov [rbx],al; xor [rbx],cl; add rbx,3
    "two pointers": ("488b0348034508488945004883c3104883c508", 16),
    # mov rax,[rbx]; add rax,[rbp+8]; mov [rbp],rax; add rbx,16; add rbp,8
    "vectors": ("660f6f03660fd4c10f29034883c310", 16),
    # movdqa xmm0,[rbx]; paddq xmm0,xmm1; movaps [rbx],xmm0; add rbx,16
    "a table": ("0fb6034883c301345a0fb64405ff8843ff", 1),
    # movzx eax,[rbx]; add rbx,1; xor al,90; movzx eax,[rbp+rax-1]; mov [rbx-1],al
}


def program(body: str) -> bytes:
    inner = bytes.fromhex(body) + bytes.fromhex("83e901")  # sub ecx,1
    inner += bytes((0x75, 256 - len(inner) - 2))  # jnz
    outer = bytes.fromhex(HEAD) + inner + bytes.fromhex("49ffc8")  # dec r8
    return outer + bytes((0x75, 256 - len(outer) - 2)) + b"\xf4"


def run(engine: str, name: str, start: int, hole: int = 0, is_exact: bool = True) -> dict[str, object]:
    """Warm the loop up, then run it from ``start``, where the page at ``hole`` may be missing."""
    rig = Rig("long", engine=engine)
    rig.cpu.tune_translator(16, is_exact)
    rig.regs.cr4 = 0x620
    body, _ = LOOPS[name]
    for at in range(DATA, END, 8):
        rig.memory.write(at, (at * 0x9E3779B97F4A7C15 & (1 << 64) - 1).to_bytes(8, "little"))
    for code, count, turns, first in ((program(body), 150, 3000, DATA + 0x80000), (b"", 1, 12000, start)):
        rig.load(code)
        rig.regs.rdi, rig.regs.rsi, rig.regs.rdx, rig.regs.r8 = first, first - 0x40000, turns, count
        rig.regs.rax = 0x1234567
        if hole and first == start:
            rig.set_page(hole, 0)
        rig.go_on()
    if engine == "translate":
        found = rig.cpu.translations()
        assert found is not None and any(block.is_hot for block in found.blocks)
    names = ["rip", "rax", "rbx", "rcx", "rdx", "rbp", "rsp", "rsi", "rdi", "r8", "cr2"]
    state: dict[str, object] = {name: getattr(rig.regs, name) for name in names}
    if is_exact:
        state["rflags"] = rig.regs.rflags
    return state | {
        "instructions": rig.cpu.counters()["instructions"],
        "vector": rig.vector,
        "memory": rig.memory.read(DATA, END - DATA),
    }


@pytest.mark.parametrize("is_exact", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_the_same_as_the_interpreter(name: str, is_exact: bool) -> None:
    found = run("translate", name, START, 0, is_exact)
    assert found == run("interpret", name, START, 0, is_exact)


@pytest.mark.parametrize("is_exact", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_a_fault_in_a_counted_turn(name: str, is_exact: bool) -> None:
    """The page after next is missing: the loop is hot, and has gone through a page since it was entered."""
    hole = (START & ~0xFFF) + (0x2000 if LOOPS[name][1] > 0 else -0x2000)
    found = run("translate", name, START, hole, is_exact)
    assert found["vector"] == 14
    assert found == run("interpret", name, START, hole, is_exact)
