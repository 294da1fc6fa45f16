"""Straight pieces of random code with forward branches: what single instructions leave behind for the next.

Flags that an instruction leaves undefined are followed, and nothing that reads them comes after it.
Memory is addressed without registers, so that no value can lead anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import float_state
import vector_state
from assemble import Choice, Memory, Variant, encode, variants
from assemble_vector import is_vector
from case import ARITHMETIC, DATA, DATA_BYTES, FLAGS, INSTRUCTION, RAX, RCX, RDX, WINDOW_BYTES, Case, Outcome
from generate import BIT_OFFSET
from values import Source
from x86_table import Row, read_rows

CODE_LIMIT = 220
#: an environment that comes from memory would unmask exceptions; one that goes there shows FIP and FDP
ENVIRONMENT = {"fldenv", "frstor", "fldcw", "ldmxcsr", "vldmxcsr", "fnstenv", "fnsave"}
OPERAND_AT = 0x40
#: whether the judge has a feature
Has = Callable[[str], bool]


def is_usable(row: Row) -> bool:
    if "user" not in row.attributes or "zerosrc" in row.attributes or not variants(row, 64):
        return False
    if row.mnemonic in ENVIRONMENT or "maskmovq" in row.mnemonic or "maskmovdqu" in row.mnemonic:
        return False
    if "vsib" in row.attributes:
        return False
    return not (row.mnemonic in BIT_OFFSET and row.form == 1)


def is_usable_variant(variant: Variant, row: Row) -> bool:
    """A 16-bit SHLD has undefined results for counts over 16."""
    return not (variant.width == 16 and row.mnemonic in ("shld", "shrd"))


@dataclass(frozen=True)
class Piece:
    """A row as it can stand in a sequence."""

    row: Row
    variants: tuple[Variant, ...]


def pieces() -> tuple[list[Piece], list[Piece], list[Piece]]:
    """Integer rows; those of x87, MMX and SSE; those of AVX and AVX-512."""
    found: tuple[list[Piece], list[Piece], list[Piece]] = ([], [], [])
    for row in read_rows():
        if is_usable(row):
            usable = tuple(v for v in variants(row, 64) if is_usable_variant(v, row))
            kind = 2 if is_vector(row) else bool(row.attributes & {"x87", "mmx", "sse"})
            found[kind].append(Piece(row, usable))
    return found


INTEGER, FLOAT, VECTOR = pieces()


@dataclass
class Sequence:
    """Code with the flags that are undefined at its end, and before each of its instructions."""

    code: bytes = b""
    undefined: int = 0
    undefined_at: dict[int, int] = field(default_factory=dict)

    def defined(self, outcome: Outcome) -> int:
        """Flags that are defined where the sequence ended."""
        return ARITHMETIC & ~self.undefined_at[outcome.rip - INSTRUCTION]

    def reads(self, letters: str) -> bool:
        """Whether flags that are undefined here are among these."""
        return bool(self.undefined & sum(FLAGS[letter] for letter in letters))

    def after(self, row: Row) -> int:
        """Undefined flags once the row has run."""
        undefined = sum(FLAGS[letter] for letter in row.undefined)
        written = sum(FLAGS[letter] for letter in row.writes)
        if "count" in row.attributes:
            # a count of 0 keeps the flags, one over the size leaves CF undefined
            return self.undefined | undefined | FLAGS["c"]
        return self.undefined & ~written | undefined


def encode_piece(row: Row, variant: Variant, source: Source, origin: int) -> bytes:
    """One instruction at `origin`, its memory operand in the data by an absolute or a relative address."""
    choice = Choice(source.below(16), source.below(16), source.below(16), immediate=source.value())
    if "By" in row.operands:
        choice.vvvv = source.below(16)
    if is_vector(row):
        vector_state.draw_fields(source, row, variant, choice)
    if any(operand[0] in "PQN" or operand == "STi" for operand in row.operands):
        choice.rm, choice.reg = choice.rm & 7, choice.reg & 7
    if variant.is_memory:
        # now and then a page that is not there: everything before the fault has happened
        target = DATA + DATA_BYTES if source.one_in(60) else DATA + OPERAND_AT + 16 * source.below(3)
        target &= -64 if "align" in row.attributes else -1
        is_relative = source.one_in(2)
        choice.memory = Memory(None, disp=target, is_rip_relative=is_relative)
        if is_relative:
            length = len(encode(row, variant, choice))
            choice.memory = Memory(None, disp=target - origin - length, is_rip_relative=True)
    return encode(row, variant, choice)


def draw_piece(sequence: Sequence, source: Source, origin: int, has: Has) -> tuple[bytes, int]:
    """An instruction that reads no undefined flag: its bytes, and the flags undefined after it."""
    while True:
        piece = source.pick(source.pick((INTEGER, INTEGER, INTEGER, FLOAT, VECTOR)))
        if not has(piece.row.feature):
            continue
        if not sequence.reads(piece.row.reads):
            code = encode_piece(piece.row, source.pick(piece.variants), source, origin)
            return code, sequence.after(piece.row)


def draw_branch(sequence: Sequence, source: Source) -> int:
    """Opcode of a Jcc whose condition is defined, or of JMP."""
    for opcode in (0x70 | source.below(16), 0x70 | source.below(16)):
        letters = ("o", "c", "z", "zc", "s", "p", "so", "zso")[opcode >> 1 & 7]
        if not sequence.reads(letters):
            return opcode
    return 0xEB


def draw(source: Source, count: int, has: Has) -> tuple[Case, Sequence]:
    """A case of `count` instructions that the host has, and what is undefined in it."""
    sequence = Sequence()
    for _ in range(count):
        has_branch = source.one_in(6)
        origin = INSTRUCTION + len(sequence.code) + 2 * has_branch
        code, undefined = draw_piece(sequence, source, origin, has)
        if has_branch:
            # over the instruction, or not: then what was undefined before may still be
            code = bytes([draw_branch(sequence, source), len(code)]) + code
            undefined |= sequence.undefined
        if len(sequence.code) + len(code) > CODE_LIMIT:
            break
        sequence.undefined_at[origin - INSTRUCTION] = sequence.undefined
        sequence.code += code
        sequence.undefined = undefined
    sequence.undefined_at[len(sequence.code)] = sequence.undefined
    regs = [source.value() for _ in range(16)]
    regs[RAX], regs[RCX], regs[RDX] = source.byte(), source.byte(), 0
    window = b"".join(source.vector() for _ in range(WINDOW_BYTES // 16))
    rflags = source.random.getrandbits(12) & ARITHMETIC
    fx = float_state.draw_masked(source)
    high = vector_state.draw_high(source)
    return Case(sequence.code, regs, rflags, fx, OPERAND_AT, window, high), sequence
