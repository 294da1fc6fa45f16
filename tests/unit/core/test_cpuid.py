"""CPUID and the CPU models: what is advertised, and how far the leaves go."""

from __future__ import annotations

import struct

import pytest
from rig import Rig

from ringfence.core.x86._gen_models import FEATURES, MODELS
from ringfence.core.x86._gen_rows import ROWS
from ringfence.core.x86.thunk import host_has

NAMES = [row[0] for row in MODELS]
INTEL = [row[0] for row in MODELS if row[1] == 1]


def cpuid(rig: Rig, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    rig.regs.rax, rig.regs.rcx = leaf, subleaf
    rig.run("0fa2 f4")
    return rig.regs.rax, rig.regs.rbx, rig.regs.rcx, rig.regs.rdx


@pytest.mark.parametrize("model", NAMES)
def test_vendor_and_signature(model: str) -> None:
    rig = Rig("real", model)
    assert rig.regs.rdx == cpuid(rig, 1)[0], "EDX at reset is the signature"
    rig.cpu.reset()
    rig = Rig("real", model)
    last, *name = cpuid(rig, 0)
    vendor = struct.pack("<III", name[0], name[2], name[1]).decode()
    assert vendor == ("GenuineIntel" if model in INTEL else "AuthenticAMD")
    assert last >= 1


def test_features_by_name() -> None:
    rig = Rig("real", "x86-64-v2")
    ecx = cpuid(rig, 1)[2]
    assert ecx & 1 << 20, "sse42"
    assert ecx & 1 << 31, "hypervisor"
    assert not ecx & 1 << 28, "AVX is x86-64-v3"
    assert not cpuid(rig, 7)[1] & 1 << 8, "BMI2 is v2plus"
    assert cpuid(Rig("real", "x86-64-v2plus"), 7)[1] & 1 << 8


def test_every_feature_of_an_instruction_is_in_the_best_model() -> None:
    words = {row[0]: row[6] for row in MODELS}["max"]
    for row in ROWS:
        if row.feature:
            bit = FEATURES[row.feature]
            assert words[bit >> 6] >> (bit & 63) & 1, row


def test_models_grow() -> None:
    words = {row[0]: row[6] for row in MODELS}
    for smaller, larger in [("pentium", "pentium3"), ("x86-64", "x86-64-v2"), ("x86-64-v2", "x86-64-v2plus"),
        ("x86-64-v2plus", "x86-64-v3"), ("x86-64-v3", "x86-64-v4"), ("x86-64-v4", "max"),
    ]:  # fmt: skip
        assert all(a & ~b == 0 for a, b in zip(words[smaller], words[larger], strict=True))
        assert words[smaller] != words[larger]


def test_a_feature_not_offered_is_undefined() -> None:
    assert cpuid(Rig("real", "pentium"), 1)[3] & 1 << 15 == 0, "no CMOV"
    rig = Rig("real", "pentium")
    rig.run("0f44c1 f4")
    assert rig.vector == 6
    rig = Rig("real", "pentium3")
    rig.run("0f44c1 f4")
    assert rig.vector is None


def test_brand_string() -> None:
    rig = Rig("real", "x86-64-v2plus")
    text = b"".join(struct.pack("<IIII", *cpuid(rig, 0x80000002 + k)) for k in range(3))
    assert text.rstrip(b"\0").decode() == "Ringfence virtual CPU (v2plus)"


def test_hypervisor_leaves() -> None:
    rig = Rig("real")
    last, *name = cpuid(rig, 0x40000000)
    assert struct.pack("<III", *name) == b"KVMKVMKVM\0\0\0" and last == 0x40000010
    assert cpuid(rig, 0x40000001)[0] == 1 << 0 | 1 << 1 | 1 << 3 | 1 << 24
    assert cpuid(rig, 0x40000010)[:2] == (1_000_000, 1_000_000)


def test_leaf_too_high() -> None:
    """The highest basic leaf on Intel, zeros on AMD."""
    rig = Rig("real", "x86-64-v2")
    assert cpuid(rig, 0x77) == cpuid(rig, 0x15) != (0, 0, 0, 0)
    assert cpuid(Rig("real", "opteron"), 0x77) == (0, 0, 0, 0)


def test_cache_descriptors_where_there_is_no_leaf_4() -> None:
    """Descriptor FFh sends a program to leaf 4, whose last subleaf it would look for without end."""
    assert cpuid(Rig("real", "pentium3"), 2)[0] == 0x03020101
    rig = Rig("real", "core2duo")
    assert cpuid(rig, 2)[0] == 0xFF01
    kinds = [cpuid(rig, 4, k)[0] & 31 for k in range(5)]
    assert kinds == [1, 2, 3, 3, 0]


def test_osxsave_and_apic_follow_the_state() -> None:
    rig = Rig("protected")
    assert not cpuid(rig, 1)[2] & 1 << 27
    rig.regs.cr4 = 1 << 18
    assert cpuid(rig, 1)[2] & 1 << 27
    assert cpuid(rig, 1)[3] & 1 << 9
    rig.regs.rax, rig.regs.rdx, rig.regs.rcx = 0xFEE00000, 0, 0x1B
    rig.run("0f30 f4")
    assert not cpuid(rig, 1)[3] & 1 << 9


def test_topology_and_widths() -> None:
    rig = Rig("real")
    assert cpuid(rig, 0xB, 0) == (0, 1, 0x100, 0)
    assert cpuid(rig, 0xB, 1)[2] == 0x201
    assert cpuid(rig, 0xB, 2)[1:3] == (0, 2)
    assert cpuid(rig, 0x80000008)[0] == 48 << 8 | 40


@pytest.mark.parametrize(
    ("model", "mask", "size"), [("x86-64-v2plus", 3, 576), ("x86-64-v3", 7, 832), ("x86-64-v4", 0xE7, 2688)]
)
def test_xsave_areas(model: str, mask: int, size: int) -> None:
    rig = Rig("real", model)
    if model != "x86-64-v2plus" and not host_has("avx" if model == "x86-64-v3" else "avx512f"):
        pytest.skip("the host lacks it")
    assert cpuid(rig, 0xD, 0) == (mask, 576, size, 0)
    assert cpuid(rig, 0xD, 1)[:2] == (7, 576), "XSAVEOPT, XSAVEC, XGETBV with ECX = 1"
    components = {2: (256, 576), 5: (64, 1088), 6: (512, 1152), 7: (1024, 1664)}
    for number in range(2, 10):
        expected = components.get(number, (0, 0)) if mask >> number & 1 else (0, 0)
        assert cpuid(rig, 0xD, number)[:2] == expected, number


def test_upper_halves_are_cleared() -> None:
    rig = Rig("long")
    for name in ("rax", "rbx", "rcx", "rdx"):
        setattr(rig.regs, name, 0xFFFFFFFF_00000000)
    rig.run("0fa2 f4")
    assert all(getattr(rig.regs, name) >> 32 == 0 for name in ("rax", "rbx", "rcx", "rdx"))
