"""Random sequences of 32-bit code: the translator against the interpreter, whose instructions are judged.

Memory is addressed without registers, and forward branches go over an instruction here and there.
"""

from __future__ import annotations

import legacy
import pytest
import sequence
from assemble import Choice, Memory, encode, variants
from case import ARITHMETIC, FLAGS, RSP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legacy_guest import DPL_3
from rig import CODE, CODE3, DB, HLT, PRESENT_CODE, STACK0, STACK3, G, Rig
from sequence import Piece, Sequence
from twins import DATA, Twins, counter, register_differences
from values import Source
from x86_table import read_rows

from ringfence.core.exits import Reason

DRAW_BYTES = 192
WINDOW = 0x400
LEFT_OUT = legacy.BRANCHES | legacy.STRINGS | {"xlat", "enter", "leave"}


def pieces() -> tuple[list[Piece], list[Piece]]:
    """Integer rows; those of x87, MMX and SSE."""
    integer = [row for row in legacy.rows(32) if row.mnemonic not in LEFT_OUT]
    floating = [
        row for row in read_rows() if sequence.is_usable(row) and row.attributes & {"x87", "mmx", "sse"}
    ]
    found: tuple[list[Piece], list[Piece]] = ([], [])
    for kind, rows in enumerate((integer, floating)):
        for row in rows:
            usable = tuple(v for v in variants(row, 32) if sequence.is_usable_variant(v, row))
            has_target = any(operand[0] == "J" for operand in row.operands)
            is_plain = set(row.reads + row.writes) <= set(FLAGS) and "zerosrc" not in row.attributes
            if usable and is_plain and not has_target and not row.vex:
                found[kind].append(Piece(row, usable))
    return found


INTEGER, FLOAT = pieces()


def encode_piece(piece: Piece, source: Source) -> bytes:
    variant = source.pick(piece.variants)
    # 4 is AH, or ESP, which had better stay where faults are delivered
    fields = [source.below(8) for _ in range(3)]
    fields = [field + (field == RSP and variant.width != 8) for field in fields]
    choice = Choice(*fields, immediate=source.value())
    target = DATA + 16 * source.below(WINDOW // 32) + source.below(4) * ("align" not in piece.row.attributes)
    if variant.is_memory:
        if piece.row.attributes & {"sse"}:
            target &= -16
        choice.memory = Memory(None, disp=target, address_bits=32)
    elif {"Ob", "Ov"} & set(piece.row.operands):
        choice.immediate = target
    return encode(piece.row, variant, choice)


def draw(source: Source, count: int) -> Sequence:
    found = Sequence()
    for _ in range(count):
        piece = source.pick(source.pick((INTEGER, INTEGER, FLOAT)))
        if found.reads(piece.row.reads):
            continue
        code, undefined = encode_piece(piece, source), found.after(piece.row)
        if source.one_in(6):
            code = bytes([sequence.draw_branch(found, source), len(code)]) + code
            undefined |= found.undefined
        found.code += code
        found.undefined = undefined
    return found


@pytest.fixture(scope="module", params=["protected", "long"])
def twins(request: pytest.FixtureRequest) -> Twins:
    """Protected mode; compatibility mode in ring 3."""
    found = Twins(request.param)
    if request.param == "long":
        found.each(lambda rig: rig.set_ring(3))
        found.each(lambda rig: rig.cpu.set_segment("cs", CODE3, 0, 0xFFFFFFFF, PRESENT_CODE | DPL_3 | DB | G))
    return found


def run(rig: Rig, record: bytes, found: Sequence, data: bytes, values: list[int]) -> Reason:
    rig.cpu.restore(record)
    rig.memory.write(DATA, data)
    rig.memory.write(STACK0 - 0x100, bytes(0x200))
    rig.memory.write(STACK3 - 0x100, bytes(0x200))
    rig.load(found.code + HLT)
    for name, value in zip(("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi"), values, strict=False):
        setattr(rig.regs, name, value)
    rig.regs.rsp = STACK3 if rig.mode == "long" else STACK0
    rig.regs.rflags = 2 | values[7] & ARITHMETIC
    return rig.go_on()


def examine(twins: Twins, count: int, samples: int) -> None:
    rigs = twins.interpreting, twins.translating
    records = [rig.cpu.save() for rig in rigs]

    @settings(
        max_examples=samples, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(drawn: bytes) -> None:
        source = Source(drawn)
        found = draw(source, count)
        values = [source.value() & 0xFFFF_FFFF for _ in range(8)]
        data = b"".join(source.vector() for _ in range(WINDOW // 16))
        for time in ("first", "again"):
            reasons = [
                run(rig, record, found, data, values) for rig, record in zip(rigs, records, strict=True)
            ]
            assert reasons[0] == reasons[1], f"{time}: {found.code.hex()}"
            # what a fault pushes has undefined flags too
            flags = ~found.undefined if rigs[0].regs.rip == CODE + len(found.code) + 1 else ~ARITHMETIC
            differs = register_differences(rigs[0].cpu, rigs[1].cpu, flags)
            assert not differs, f"{time}: {differs}: {found.code.hex()}"
            left, right = (rig.memory.read(DATA, WINDOW + 512) for rig in rigs)
            assert left == right, f"{time}: {found.code.hex()}"

    compare()
    for rig, record in zip(rigs, records, strict=True):
        rig.cpu.restore(record)


@pytest.mark.parametrize("count", [2, 5, 16])
def test_engines_agree_on_sequences(twins: Twins, count: int) -> None:
    before = counter(twins.translating, "translation_entries")
    examine(twins, count, 2500)
    assert counter(twins.translating, "translation_entries") - before > 1000


@pytest.mark.nightly
@pytest.mark.parametrize("count", [2, 5, 16, 30])
def test_engines_agree_on_many_sequences(twins: Twins, count: int) -> None:
    examine(twins, count, 30_000)
