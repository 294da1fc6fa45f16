"""Random bytes as guest code, in every mode: `run` comes back, and nothing of the host's breaks.

Also a third opinion on lengths: an instruction that ran is as long as iced-x86 says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import iced_x86
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "core"))

from rig import CODE, STACK0, Rig

from ringfence.core.exits import Reason

MODES = {"real": 16, "protected": 32, "long": 64, "v86": 16}
EXIT_LIMIT = 300
#: what lies below: tables, handlers, stacks, page tables
SYSTEM_BYTES = 0x50000
STEPS = 64
#: one in so many random instructions goes on to the next, at least
COMPARED_PART = 8
QUIET = settings(derandomize=True, database=None, max_examples=400, suppress_health_check=list(HealthCheck))
THOROUGH = settings(QUIET, max_examples=50_000)

PREFIXES = [b"", b"", b"", b"\x66", b"\x67", b"\xf0", b"\xf2", b"\xf3", b"\x48", b"\x41", b"\x26\x66"]
prefixes = st.sampled_from(PREFIXES)
byte = st.binary(min_size=1, max_size=1)
opcodes = st.one_of(
    byte,
    *(byte.map(escape.__add__) for escape in (b"\x0f", b"\x0f\x38", b"\x0f\x3a", b"\xc4\xe2", b"\xc4\xe3")),
    st.binary(min_size=2, max_size=2).map(b"\xc4".__add__),
)
rests = st.binary(min_size=0, max_size=10)
instructions = st.tuples(prefixes, opcodes, rests).map(b"".join)
programs = st.one_of(
    st.binary(min_size=1, max_size=64), st.lists(instructions, min_size=1, max_size=8).map(b"".join)
)
registers = st.lists(
    st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 1 << 31, (1 << 32) - 1, 1 << 47, (1 << 64) - 1])),
    min_size=16, max_size=16,
)  # fmt: skip

_rigs: dict[str, tuple[Rig, bytes, bytes]] = {}


def fresh(mode: str) -> Rig:
    """A rig at its start, with its tables, handlers and stacks."""
    if mode not in _rigs:
        rig = Rig("protected" if mode == "v86" else mode)
        if mode == "v86":
            rig.enter_v86(3)
        _rigs[mode] = rig, rig.cpu.save(), rig.memory.read(0, SYSTEM_BYTES)
    rig, start, system = _rigs[mode]
    if rig.memory.read(0, SYSTEM_BYTES) != system:
        rig.memory.write(0, system)
    rig.cpu.restore(start)
    return rig


def answer(rig: Rig, reason: Reason) -> None:
    if reason in (Reason.IO, Reason.MMIO) and not rig.cpu.exit.is_write:
        rig.cpu.exit.data = (1 << 64) - 1


def survive(mode: str, code: bytes, values: list[int]) -> None:
    """Run until it ends by itself, or for a while."""
    rig = fresh(mode)
    for name, value in zip(("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi"), values, strict=False):
        setattr(rig.regs, name, value)
    rig.memory.write(CODE, code.ljust(128, b"\x90"))
    rig.regs.rip = CODE
    for _ in range(EXIT_LIMIT):
        rig.cpu.set_debug_steps(STEPS)
        reason = Reason(rig.cpu.run())
        if reason in (Reason.HLT, Reason.SHUTDOWN, Reason.DEBUG, Reason.FAIL):
            break
        answer(rig, reason)
    assert reason is not Reason.FAIL, f"the engine can't go on: {code.hex(' ')}"


@pytest.mark.parametrize("mode", MODES)
def test_random_code_ends(mode: str) -> None:
    QUIET(given(code=programs, values=registers)(lambda code, values: survive(mode, code, values)))()


@pytest.mark.nightly
@pytest.mark.parametrize("mode", MODES)
def test_random_code_ends_often(mode: str) -> None:
    THOROUGH(given(code=programs, values=registers)(lambda code, values: survive(mode, code, values)))()


FLOW = {iced_x86.FlowControl.NEXT}


def measure(mode: str, code: bytes) -> bool:
    """One instruction; if it simply went on to the next, that one is where iced-x86 says. True if it did."""
    decoder = iced_x86.Decoder(MODES[mode], code, ip=CODE)
    decoded = decoder.decode()
    if decoded.flow_control not in FLOW or decoded.is_string_instruction or decoded.is_stack_instruction:
        return False
    rig = fresh(mode)
    rig.memory.write(CODE, code.ljust(16, b"\x90"))
    rig.regs.rip, rig.regs.rsp = CODE, 0x7000 if mode in ("real", "v86") else STACK0
    for _ in range(EXIT_LIMIT):
        rig.cpu.set_debug_steps(1)
        reason = Reason(rig.cpu.run())
        if reason not in (Reason.IO, Reason.MMIO):
            break
        answer(rig, reason)
    went_on = reason == Reason.DEBUG and CODE <= rig.regs.rip <= CODE + 16
    if went_on:
        assert rig.regs.rip == CODE + decoded.len, f"{decoded}: {code.hex(' ')}"
    return went_on


def measure_often(mode: str, how_often: settings) -> None:
    compared = 0

    @how_often
    @given(code=instructions)
    def each(code: bytes) -> None:
        nonlocal compared
        compared += measure(mode, code + b"\x90" * 15)

    each()
    assert compared > how_often.max_examples // COMPARED_PART


@pytest.mark.parametrize("mode", MODES)
def test_lengths(mode: str) -> None:
    measure_often(mode, QUIET)


@pytest.mark.nightly
@pytest.mark.parametrize("mode", MODES)
def test_lengths_often(mode: str) -> None:
    measure_often(mode, THOROUGH)
