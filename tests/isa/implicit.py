"""64-bit cases of instructions with operands of their own: the stack, branches, strings, XLAT, MOV moffs.

A branch must stay in the code page, where the judge waits with INT3 everywhere; a stack pointer must
stay in the data, where nothing of the judge's can be hurt.
"""

from __future__ import annotations

import struct

import float_state
from assemble import Choice, Variant, encode, variants
from case import (
    ARITHMETIC,
    DATA,
    DATA_BYTES,
    DF,
    INSTRUCTION,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RSI,
    RSP,
    WINDOW_BYTES,
    Case,
)  # fmt: skip
from generate import Sample, draw_memory
from values import MASK_64, Source
from x86_table import TABLES, Row, read_file

STRINGS = {"movs", "cmps", "stos", "lods", "scas"}
OTHERS = {"xlat", "std", "enter", "leave", "pushf", "popf"}
BRANCHES = {"jmp", "call", "ret", "loop", "loope", "loopne", "jcxz"}
#: what POPF may load on the host: not TF, NT and AC, which the judge itself would feel
POPF_MASK = 0x20_0ED5


def is_judged(row: Row) -> bool:
    """Rows of ring 3 without the attribute `user`, which promises explicit operands only."""
    if "user" in row.attributes or not variants(row, 64):
        return False
    if row.mnemonic in BRANCHES | STRINGS | OTHERS:
        return True
    is_jcc = row.mnemonic[0] == "j" and bool({"Jb", "Jz"} & set(row.operands))
    is_stack = row.mnemonic in ("push", "pop") and row.klass == "innocuous"
    return is_jcc or is_stack or bool({"Ob", "Ov"} & set(row.operands))


def rows() -> list[Row]:
    found = read_file(TABLES / "x86.tbl") + read_file(TABLES / "x86_system.tbl")
    return [row for row in found if is_judged(row)]


def sizes(row: Row) -> list[Variant]:
    """Without 66 on near branches: Intel's processors ignore it (SDM vol. 2, JMP), AMD's do not."""
    found = variants(row, 64)
    return [v for v in found if not ("f64" in row.attributes and v.width == 16)]


def place(source: Source, is_inside: bool = False) -> int:
    """An aligned address in the data, mostly with room on both sides."""
    if source.one_in(12) and not is_inside:
        return DATA + source.pick((0, 8, DATA_BYTES - 8, DATA_BYTES))
    return DATA + 0x800 + 8 * source.below(64)


def target(source: Source) -> int:
    """A place to branch to."""
    return INSTRUCTION + 0x20 + source.below(200) * 4


def draw_words(source: Source, row: Row) -> list[int]:
    """What lies where the instruction looks."""
    words = [source.value() for _ in range(6)]
    if row.mnemonic in BRANCHES:
        words = [target(source)] * 6
    if row.mnemonic == "popf":
        words = [word & POPF_MASK for word in words]
    if row.mnemonic in ("cmps", "scas") and not source.one_in(3):
        words = [words[0]] * 6
    return words


def draw_string(source: Source, row: Row, choice: Choice, regs: list[int]) -> int:
    regs[RSI], regs[RDI] = place(source), place(source)
    if source.one_in(2):
        choice.repeat = source.pick((0xF3, 0xF2)) if row.mnemonic in ("cmps", "scas") else 0xF3
        regs[RCX] = source.below(6)
    if source.one_in(3):
        regs[RDI] = regs[RSI]
    if source.one_in(4):
        # 32-bit addressing: the upper halves are no part of address and count
        choice.prefixes += b"\x67"
        # a count of 0 leaves open whether RCX is written at all
        regs[RCX] = max(regs[RCX] & 0xFFFF_FFFF, 1) if choice.repeat else regs[RCX] & 0xFFFF_FFFF
        for register in (RSI, RDI, RCX):
            regs[register] |= source.random.getrandbits(32) << 32
    return (regs[RDI] if row.mnemonic == "scas" else regs[RSI]) & 0xFFFF_FFFF


def draw_immediate(source: Source, row: Row) -> int:
    if "Jb" in row.operands:
        # to the next instruction, or past the judge's jump that stands there
        return source.pick((0, 5, 6, 0x7F, 0x80, 0xF0, 0x40))
    if "Jz" in row.operands:
        return source.pick((0, 8 + source.below(200) * 4, -0x20 - source.below(200) * 4))
    if row.mnemonic == "enter":
        return source.byte() | source.pick((0, 0, 1, 2, 3, 5, 33)) << 16
    if row.mnemonic == "ret":
        return source.byte()
    if {"Ob", "Ov"} & set(row.operands):
        return place(source)
    return source.value()


def draw(row: Row, variant: Variant, source: Source) -> Sample:
    """A case of this variant of the row."""
    regs = [source.value() for _ in range(16)]
    # how much of a frame ENTER has written when it faults is the processor's affair
    is_inside = row.mnemonic == "enter"
    regs[RSP], regs[RBP] = place(source, is_inside), place(source, is_inside)
    choice = Choice(source.below(16), source.below(16), source.below(16))
    choice.immediate = draw_immediate(source, row)
    at = regs[RSP]
    if row.mnemonic in STRINGS:
        at = draw_string(source, row, choice, regs)
    elif row.mnemonic == "xlat":
        regs[RBX] = place(source)
        at = (regs[RBX] + (regs[RAX] & 0xFF)) & MASK_64
    elif variant.is_memory:
        at, sp = place(source), regs[RSP]
        while choice.memory is None or choice.memory.base == RSP or choice.memory.is_rip_relative:
            choice.memory = draw_memory(source, at, regs)
        regs[RSP] = sp
    elif row.mnemonic in ("jmp", "call") and choice.rm != RSP:
        regs[choice.rm] = target(source)
    elif row.mnemonic in ("jmp", "call") and "Ev" in row.operands:
        choice.rm = RAX
        regs[RAX] = target(source)
    elif row.mnemonic == "leave":
        at = regs[RBP]
    elif {"Ob", "Ov"} & set(row.operands):
        at = choice.immediate
    code = encode(row, variant, choice)
    words = struct.pack("<6Q", *draw_words(source, row))
    data_at = min(max(at - DATA, 0), DATA_BYTES)
    window_at = min(max(data_at - WINDOW_BYTES // 2, 0), DATA_BYTES - WINDOW_BYTES)
    window = source.random.randbytes(data_at - window_at) + words
    window = window.ljust(WINDOW_BYTES, b"\x5a")[:WINDOW_BYTES]
    rflags = source.random.getrandbits(12) & (ARITHMETIC | (DF if row.mnemonic in STRINGS else 0))
    case = Case(code, regs, rflags, float_state.DEFAULT, window_at, window)
    return Sample(row, variant, choice, case, data_at - window_at if variant.is_memory else -1)
