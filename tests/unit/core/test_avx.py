"""AVX and AVX-512 where user code on the host shows nothing: control bits, models, the width of modes."""

from __future__ import annotations

import pytest
from rig import Rig

from ringfence.core.x86.thunk import host_has

pytestmark = pytest.mark.skipif(not host_has("avx512f"), reason="the host lacks AVX-512")

UD, NM, GP = 6, 7, 13
OSXSAVE, OSFXSR, TS, EM = 1 << 18, 0x600, 8, 4
VADDPS_XMM, VADDPS_YMM, VADDPS_ZMM = "c5f058c2", "c5f458c2", "62f1744858c2"
KMOVW = "c5f890c1"
XCR0_OF = {"none": 1, "sse": 3, "avx": 7, "avx512": 0xE7}


def machine(mode: str = "long", model: str = "max", xcr0: int = 0xE7) -> Rig:
    rig = Rig(mode, model)
    rig.regs.cr4 = rig.regs.cr4 | OSXSAVE | OSFXSR
    rig.run(f"b8{xcr0:02x}00000031d231c90f01d1f4")
    assert rig.vector is None
    return rig


@pytest.mark.parametrize(
    ("code", "needs"), [(VADDPS_XMM, "avx"), (VADDPS_YMM, "avx"), (VADDPS_ZMM, "avx512"), (KMOVW, "avx512")]
)
@pytest.mark.parametrize("xcr0", XCR0_OF)
def test_xcr0_enables(code: str, needs: str, xcr0: str) -> None:
    rig = machine(xcr0=XCR0_OF[xcr0])
    rig.run(code + "f4")
    is_enabled = XCR0_OF[xcr0] & XCR0_OF[needs] == XCR0_OF[needs]
    assert rig.vector == (None if is_enabled else UD)


@pytest.mark.parametrize("code", [VADDPS_YMM, VADDPS_ZMM, KMOVW])
def test_control_registers(code: str) -> None:
    rig = machine()
    rig.regs.cr0 = rig.regs.cr0 | TS
    rig.run(code + "f4")
    assert rig.vector == NM
    rig.regs.cr4 = rig.regs.cr4 & ~OSXSAVE
    rig.run(code + "f4")
    assert rig.vector == UD, "before #NM"
    rig = machine()
    rig.regs.cr0 = rig.regs.cr0 | EM
    rig.regs.cr4 = rig.regs.cr4 & ~OSFXSR
    rig.run(code + "f4")
    assert rig.vector is None, "EM and OSFXSR are SSE's"


@pytest.mark.parametrize(
    ("model", "defined"),
    [("x86-64-v2plus", ""), ("x86-64-v3", "xy"), ("x86-64-v4", "xyzk"), ("host", "xyzk")],
)
def test_models(model: str, defined: str) -> None:
    rig = Rig("long", model)
    rig.regs.cr4 = rig.regs.cr4 | OSXSAVE | OSFXSR
    rig.run("b80d00000031c90fa231d231c90f01d1f4")
    for name, code in zip("xyzk", (VADDPS_XMM, VADDPS_YMM, VADDPS_ZMM, KMOVW), strict=True):
        rig.run(code + "f4")
        assert rig.vector == (None if name in defined else UD), name


@pytest.mark.parametrize("mode", ["real", "protected"])
def test_vex_needs_protected_mode(mode: str) -> None:
    rig = Rig(mode, "max")
    rig.regs.cr4 = rig.regs.cr4 | OSXSAVE | OSFXSR
    rig.run("66b80700000066" + "31d26631c90f01d1f4" if mode == "real" else "b80700000031d231c90f01d1f4")
    rig.run(VADDPS_XMM + "f4")
    assert (rig.vector is None) == (mode == "protected")


@pytest.mark.parametrize(("mode", "touched"), [("long", 16), ("protected", 8)])
def test_vzeroupper_reaches_the_registers_of_the_mode(mode: str, touched: int) -> None:
    rig = machine(mode)
    rig.cpu.high = b"\xff" * 1856
    rig.run("c5f877f4")
    high = rig.cpu.high
    assert high[:256] == bytes(16 * touched) + b"\xff" * (16 * (16 - touched))
    assert high[320:832] == bytes(32 * touched) + b"\xff" * (32 * (16 - touched))
    assert high[256:320] + high[832:] == b"\xff" * (64 + 1024)


def test_a_restored_state_has_a_header_that_the_host_takes() -> None:
    """Whatever a saved state says there: XCOMP_BV and XSTATE_BV are the model's."""
    rig = machine()
    record = bytearray(rig.cpu.save())
    at = record.find((0xE7).to_bytes(8, "little") + (0x8000_0000_0000_00E7).to_bytes(8, "little"))
    assert at % 64 == 0 and record.count(record[at : at + 16]) == 1
    good = bytes(record)
    record[at : at + 64] = b"\xaa" * 64
    rig.cpu.restore(bytes(record))
    assert rig.cpu.save()[at : at + 64] == good[at : at + 64]
