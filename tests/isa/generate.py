"""Cases for the host judge: 64-bit code of one row, with registers, memory and flags at their edges."""

from __future__ import annotations

from dataclasses import dataclass

import float_state
import vector_state
from assemble import Choice, Memory, Variant, encode, has_size, rm_operand
from assemble_vector import is_vector
from case import ARITHMETIC, DATA, DATA_BYTES, INSTRUCTION, NO_HIGH, RAX, RCX, RDI, RDX, WINDOW_BYTES, Case
from values import Source
from x86_table import Row

#: rows that shift memory by a bit offset in a register: SDM vol. 2, BT
BIT_OFFSET = {"bt", "bts", "btr", "btc"}
NON_CANONICAL = 0x8000_0000_0000_0000


@dataclass
class Sample:
    """A case with what is needed to know which of its outcome is defined."""

    row: Row
    variant: Variant
    choice: Choice
    case: Case
    operand_at: int  # of the memory operand in `case.window`, -1 without one

    @property
    def operand(self) -> bytes:
        """The first 16 bytes of the memory operand."""
        return self.case.window[self.operand_at : self.operand_at + 16] if self.operand_at >= 0 else b""

    def __str__(self) -> str:
        return f"{self.row.name} [{self.variant}] {self.case.code.hex(' ')}"


def must_align(row: Row, variant: Variant) -> bool:
    """Whether unaligned operands are left out.

    A LOCK across cache lines can be an exception of its own (SDM vol. 3, 8.1.2.3). SHA instructions
    fault on unaligned operands by the manual (SDM vol. 2, 2.4.4) but not on AMD processors. Whether
    MASKMOV faults for a byte that it does not store is left open (SDM vol. 2, MASKMOVDQU).
    """
    return variant.is_locked or row.feature == "sha" or "maskmov" in row.mnemonic


def draw_target(source: Source, is_aligned: bool) -> int:
    """Where the operand lies: mostly aligned; rarely unaligned, across pages, or past the end (#PF)."""
    middle = DATA + 0x800 + 16 * source.below(8)
    if is_aligned or not source.one_in(4):
        return middle
    kind = source.below(8)
    if kind < 5:
        return middle + 1 + source.below(15)
    if kind == 5:
        return DATA + 0x1000 - 1 - source.below(15)
    return DATA + DATA_BYTES - source.below(17)


def draw_memory(source: Source, target: int, regs: list[int]) -> Memory:
    """A way of addressing `target`; sets the registers it takes."""
    kind = source.below(16)
    if kind == 15:
        # relative to the next instruction: the displacement is set once the length is known
        return Memory(None, is_rip_relative=True)
    bits = 32 if kind == 14 else 64
    if kind == 13:
        return Memory(None, disp=target, address_bits=bits)
    base = source.pick((3, 6, 5, 7, 4, 8, 12, 13, 15, 0, 1, 2))
    index = source.pick((None, None, None, 2, 6, 9, 12, 13))
    index = None if index == base else index
    scale = source.below(4) if index is not None else 0
    disp_bytes = source.pick((0, 0, 1, 4))
    if disp_bytes == 0 and base & 7 == 5:
        disp_bytes = 1
    disp = {0: 0, 1: source.byte() - 128, 4: source.value() & 0xFFFF_FFFF}[disp_bytes]
    disp = disp - (1 << 32) if disp >= 1 << 31 else disp
    if index is not None:
        regs[index] = source.byte() - 64
    regs[base] = target - disp - ((regs[index] << scale) if index is not None else 0)
    mask = (1 << 64) - 1
    if index is not None:
        regs[index] &= mask
    regs[base] &= mask
    if bits == 32:
        # what is above bit 31 is not part of the address
        regs[base] ^= source.random.getrandbits(32) << 32
    elif source.one_in(60):
        regs[base] ^= NON_CANONICAL
    return Memory(base, index, scale, disp, disp_bytes, address_bits=bits)


def draw_registers(source: Source, row: Row, variant: Variant, choice: Choice, regs: list[int]) -> None:
    """Fields of ModRM and the registers that the instruction is special about."""
    choice.reg, choice.rm, choice.low = source.below(16), source.below(16), source.below(16)
    if "By" in row.operands or source.one_in(8):
        # of a row without such an operand it must be 0, or the instruction is undefined
        choice.vvvv = source.below(16)
    if any(operand[0] in "PQN" or operand == "STi" for operand in row.operands):
        choice.rm &= 7
        if row.operands[0][0] == "P" or "Pq" in row.operands:
            choice.reg &= 7
    choice.immediate = source.value()
    if is_vector(row):
        vector_state.draw_fields(source, row, variant, choice)
    size = variant.width or 8
    if row.mnemonic in ("div", "idiv") and not source.one_in(4):
        # a quotient that fits, most of the time
        sign = (regs[RAX] >> (size - 1)) & 1 if row.mnemonic == "idiv" and not source.one_in(3) else 0
        high = (1 << size) - sign & (1 << size) - 1 if sign else source.below(3)
        if size == 8:
            regs[RAX] = regs[RAX] & ~0xFF00 | (high & 0xFF) << 8
        else:
            regs[RDX] = high
    if row.mnemonic in ("shld", "shrd") and variant.width == 16:
        # a count over 16 leaves the result undefined
        choice.immediate %= 17
        regs[RCX] = regs[RCX] & ~0x1F | source.below(17)
    if row.mnemonic.startswith("pcmpestr") and not source.one_in(3):
        regs[RAX], regs[RDX] = source.below(20), source.below(20)
    if row.mnemonic in BIT_OFFSET and variant.is_memory and "Gv" in row.operands:
        regs[choice.reg] = (source.value() & 0xFFF) - 0x800 & (1 << 64) - 1


def draw_prefixes(source: Source, row: Row, variant: Variant, choice: Choice) -> None:
    """Now and then a prefix without effect: SDM vol. 2, 2.1.1 and 2.2.1."""
    if row.vex:
        return
    if source.one_in(8):
        choice.rex |= 0x40
    if source.one_in(12):
        choice.prefixes += source.pick((b"\x2e", b"\x3e", b"\x26", b"\x36"))
    if not variant.width and source.one_in(8) and not has_size(row, "vyz") and "x87" not in row.attributes:
        choice.rex |= 8


def make_special(source: Source, sample: Sample) -> None:
    """Operands that meet: a compare-and-exchange that finds what it expects."""
    case, row = sample.case, sample.row
    if not row.mnemonic.startswith("cmpxchg") or source.one_in(2):
        return
    found = int.from_bytes(sample.operand, "little") if sample.operand else case.regs[sample.choice.rm]
    memory = sample.choice.memory
    used = {memory.base, memory.index} if memory is not None else set()
    if row.mnemonic == "cmpxchg8b":
        size = 64 if sample.choice.rex & 8 else 32
        pair = (found & (1 << size) - 1, found >> size & (1 << size) - 1)
        for register, value in zip((RAX, RDX), pair, strict=True):
            if register not in used:
                case.regs[register] = value
    elif RAX not in used and sample.choice.reg != RAX:
        case.regs[RAX] = found & (1 << 64) - 1


def draw(row: Row, variant: Variant, source: Source) -> Sample:
    """A case of this variant of the row."""
    regs = [source.value() for _ in range(16)]
    choice = Choice()
    draw_registers(source, row, variant, choice, regs)
    draw_prefixes(source, row, variant, choice)
    target = 0
    if is_vector(row) and variant.is_memory:
        target = vector_state.draw_target(source, row, variant)
        choice.memory = vector_state.draw_memory(source, row, variant, draw_memory, target, regs)
    elif variant.is_memory:
        target = draw_target(source, must_align(row, variant))
        choice.memory = draw_memory(source, target, regs)
    elif row.mnemonic in ("maskmovq", "maskmovdqu", "vmaskmovdqu"):
        target = regs[RDI] = draw_target(source, must_align(row, variant))
    code = encode(row, variant, choice)
    if choice.memory is not None and choice.memory.is_rip_relative:
        choice.memory = Memory(None, disp=target - INSTRUCTION - len(code), is_rip_relative=True)
        code = encode(row, variant, choice)
    rflags = source.random.getrandbits(12) & ARITHMETIC
    has_x87 = bool(row.attributes & {"x87", "mmx"})
    fx = float_state.draw_state(source, has_x87, "sse" in row.attributes or is_vector(row))
    high = vector_state.draw_high(source) if is_vector(row) else NO_HIGH
    if "vsib" in row.attributes:
        fx, high = vector_state.place_indices(source, row, choice, fx, high)
    data_at = (target or DATA) - DATA
    window_at = min(max(data_at - WINDOW_BYTES // 2, 0), DATA_BYTES - WINDOW_BYTES)
    window = draw_window(source, row, data_at - window_at)
    case = Case(code, regs, rflags, fx, window_at, window, high)
    sample = Sample(row, variant, choice, case, data_at - window_at if target else -1)
    make_special(source, sample)
    return sample


def draw_window(source: Source, row: Row, operand_at: int) -> bytes:
    """Random bytes, with an operand that fits the row at its place."""
    kind = rm_operand(row)
    if "x87" in row.attributes:
        operand = source.extended() if kind == "Mt" else source.vector()
        if row.mnemonic == "fbld" and not source.one_in(4):
            digits = bytes(source.below(10) << 4 | source.below(10) for _ in range(9))
            operand = digits + bytes([source.pick((0, 0x80))])
    elif row.mnemonic in ("ldmxcsr", "vldmxcsr"):
        operand = float_state.draw_mxcsr(source).to_bytes(4, "little")
        if source.one_in(8):
            operand = source.random.randbytes(4)
    elif is_vector(row):
        operand = b"".join(source.vector() for _ in range(4))
    elif "sse" in row.attributes:
        operand = source.vector()
    else:
        operand = source.value().to_bytes(8, "little") + source.value().to_bytes(8, "little")
    before = source.random.randbytes(WINDOW_BYTES)
    return (before[:operand_at] + operand + before[operand_at + len(operand) :])[:WINDOW_BYTES]
