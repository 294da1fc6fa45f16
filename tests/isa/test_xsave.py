"""XSAVEC and XRSTOR in the compacted form, which is the same on all processors, judged by the host."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import float_state
import pytest
import vector_state
from case import ARITHMETIC, DATA, RAX, RBX, RDX, Case
from compare import state_differences
from guest import Guest
from host_judge import HostJudge
from values import Source

SAMPLES = 60
AREA = 0x400
#: rax and rdx are the instruction's mask, rbx the area
XSAVEC, XRSTOR = "480fc723", "480fae2b"
VZEROALL = "c5fc77"
COMPONENTS = 0xE7


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    if not found.has("avx512f"):
        pytest.skip("the host lacks AVX-512")
    yield found
    found.close()


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest()


def set_eax(mask: int) -> str:
    return "b8" + struct.pack("<I", mask).hex()


def set_byte(offset: int, value: int) -> str:
    """mov byte [rbx + offset], value"""
    return "c683" + struct.pack("<IB", offset, value).hex()


def draw_mask(source: Source) -> int:
    return source.random.getrandbits(8) & COMPONENTS if source.one_in(2) else COMPONENTS


def draw_high(source: Source) -> bytes:
    """Any component may be in its initial state."""
    high = bytearray(vector_state.draw_high(source))
    for start, end in ((0, 256), (256, 320), (320, 832), (832, 1856)):
        if source.one_in(3):
            high[start:end] = bytes(end - start)
    return bytes(high)


def draw(source: Source, code: str) -> Case:
    regs = [source.value() for _ in range(16)]
    regs[RAX], regs[RDX], regs[RBX] = draw_mask(source), source.byte(), DATA + AREA
    fx = float_state.draw_masked(source) if source.one_in(2) else float_state.DEFAULT
    window = source.random.randbytes(128)
    return Case(bytes.fromhex(code), regs, 0, fx, AREA + 512, window, draw_high(source))


def compare(judge: HostJudge, guest: Guest, case: Case) -> None:
    outcome, ours = judge.run([case])[0], guest.run_through(case)
    for each in (outcome, ours):
        # MXCSR_MASK is the processor's own
        each.data = each.data[: AREA + 28] + each.data[AREA + 32 :]
    found = state_differences(outcome, ours, ARITHMETIC)
    assert not found, f"{found}\n{case.code.hex()} mask {case.regs[RAX]:#x}"


@pytest.mark.parametrize("seed", range(SAMPLES))
def test_saving(judge: HostJudge, guest: Guest, seed: int) -> None:
    compare(judge, guest, draw(Source(struct.pack("<Q", seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1)), XSAVEC))


@pytest.mark.parametrize("seed", range(SAMPLES))
def test_restoring(judge: HostJudge, guest: Guest, seed: int) -> None:
    """Of all that was saved some components, while the area says that others are in their initial state."""
    source = Source(struct.pack("<Q", seed * 0xC2B2AE3D27D4EB4F & (1 << 64) - 1))
    present = draw_mask(source)
    code = (
        set_eax(COMPONENTS) + XSAVEC + VZEROALL + set_byte(512, present) + set_eax(draw_mask(source)) + XRSTOR
    )
    compare(judge, guest, draw(source, code))


@pytest.mark.parametrize(
    ("offset", "value"),
    [(512, 0x08), (513, 0x02), (520, 0x08), (520, 0x03), (527, 0), (528, 1), (575, 1), (27, 1)],
)
def test_headers_that_fault(judge: HostJudge, guest: Guest, offset: int, value: int) -> None:
    source = Source(struct.pack("<Q", offset))
    code = set_eax(COMPONENTS) + XSAVEC + set_byte(offset, value) + XRSTOR
    compare(judge, guest, draw(source, code))
