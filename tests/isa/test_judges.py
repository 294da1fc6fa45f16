"""The judges themselves: that the host's child tells what happened, and that a difference is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import float_state
import pytest
from assemble import Choice, Variant
from case import (
    AF,
    CF,
    DATA,
    DATA_BYTES,
    GP,
    INSTRUCTION,
    MF,
    NONE,
    OF,
    RAX,
    RCX,
    SF,
    UD,
    WINDOW_BYTES,
    XM,
    ZF,
    Case,
)  # fmt: skip
from case import DE as DIVIDE_ERROR
from case import PF_VECTOR as PAGE_FAULT
from compare import differences, undefined_flags
from generate import Sample
from host_judge import HostCrash, HostJudge
from x86_table import Row, read_rows

ROWS = read_rows()


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    yield found
    found.close()


def case(code: str, rflags: int = 0, fx: bytes = float_state.DEFAULT, **regs: int) -> Case:
    values = [regs.get(name, 0) for name in ("rax", "rcx", "rdx", "rbx")] + [0] * 12
    return Case(bytes.fromhex(code), values, rflags, fx, 0, bytes(range(WINDOW_BYTES)))


def row(encoding: str) -> Row:
    return next(row for row in ROWS if row.encoding == encoding)


def sample(found: Row, made: Case, width: int, **fields: int) -> Sample:
    return Sample(found, Variant(64, width, False), Choice(**fields), made, -1)


@pytest.mark.parametrize(
    ("code", "vector", "error"),
    [
        ("0f0b", UD, 0),
        ("f7f1", DIVIDE_ERROR, 0),  # div ecx
        ("f4", GP, 0),
        ("0f2803", GP, 0),  # movaps xmm0, [rbx]: not aligned
        ("8a8200200020", PAGE_FAULT, 4),  # mov al, [rdx + end of the data]
        ("888200200020", PAGE_FAULT, 6),  # and a write
    ],
)
def test_the_host_tells_a_fault(judge: HostJudge, code: str, vector: int, error: int) -> None:
    found = judge.run([case(code, rax=5, rbx=DATA + 1)])[0]
    assert (found.vector, found.error, found.rip) == (vector, error, INSTRUCTION)
    assert found.cr2 == (DATA + DATA_BYTES if vector == PAGE_FAULT else 0)
    assert found.regs[RAX] == 5


def test_the_host_tells_floating_point_faults(judge: HostJudge) -> None:
    pending = bytearray(float_state.DEFAULT)
    pending[0], pending[2], pending[3] = 0x7E, 0x81, 0x80  # invalid operation: unmasked, raised
    unmasked = bytearray(float_state.DEFAULT)
    unmasked[24:28] = (0x1D80).to_bytes(4, "little")
    unmasked[160:164] = (0x3F80_0000).to_bytes(4, "little")
    found = judge.run([case("9b", fx=bytes(pending)), case("f30f5ec1", fx=bytes(unmasked))])
    assert [outcome.vector for outcome in found] == [MF, XM]


def test_the_host_runs_an_instruction(judge: HostJudge) -> None:
    found = judge.run([case("0103", rax=1, rbx=DATA)])[0]  # add [rbx], eax
    assert found.vector == NONE and found.rip == INSTRUCTION + 2
    assert found.data[:5] == b"\x01\x01\x02\x03\x04" and found.rflags & (CF | ZF | SF) == 0


def test_a_dead_child_is_a_result_and_not_an_end(judge: HostJudge) -> None:
    with pytest.raises(HostCrash):
        judge.run([case("0f05", rax=60)])  # syscall: exit
    assert judge.run([case("90")])[0].vector == NONE


def test_each_part_of_an_outcome_is_compared(judge: HostJudge) -> None:
    made = case("4801c8", rax=1, rcx=2)
    adding = sample(row("01 /r"), made, 64, reg=RCX)
    found = judge.run([made])[0]
    assert differences(adding, found, found) == []
    changed = [
        replace(found, vector=UD), replace(found, rip=found.rip + 1),
        replace(found, rflags=found.rflags ^ AF),
        replace(found, regs=[*found.regs[:15], 1]), replace(found, data=found.data[:-1] + b"\1"),
        replace(found, fx=found.fx[:415] + b"\1" + found.fx[416:]),
        replace(found, fx=found.fx[:41] + b"\1" + found.fx[42:]),
    ]  # fmt: skip
    assert all(len(differences(adding, found, other)) == 1 for other in changed)


@pytest.mark.parametrize(
    ("encoding", "width", "count", "undefined"),
    [
        ("d3 /4", 32, 0, 0), ("d3 /4", 32, 32, 0), ("d3 /4", 64, 32, OF | AF), ("d3 /4", 32, 1, AF),
        ("d3 /4", 16, 16, OF | AF | CF), ("d3 /7", 16, 16, OF | AF), ("d3 /0", 32, 2, OF),
        ("d3 /0", 32, 1, 0),
        ("21 /r", 32, 0, AF),
    ],
)  # fmt: skip
def test_flags_are_masked_by_count(encoding: str, width: int, count: int, undefined: int) -> None:
    shifting = sample(row(encoding), case("90", rcx=count), width)
    assert undefined_flags(shifting) == undefined
