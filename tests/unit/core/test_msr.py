"""RDMSR and WRMSR: what exists, what may be written, what it does."""

from __future__ import annotations

import pytest
from rig import Rig

from ringfence.core.exits import Reason

GP = 13


def wrmsr(rig: Rig, index: int, value: int) -> int | None:
    """The vector it faulted with, or None."""
    rig.regs.rcx, rig.regs.rax, rig.regs.rdx = index, value & 0xFFFFFFFF, value >> 32
    rig.run("0f30 f4")
    return rig.vector


def rdmsr(rig: Rig, index: int) -> int | None:
    rig.regs.rcx = index
    rig.run("0f32 f4")
    return None if rig.vector else rig.regs.rdx << 32 | rig.regs.rax


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0x174, 0x10), (0x175, 0xFFFF8000_00001000), (0x176, 0xFFFFFFFF_80001000),
        (0xC0000081, 0x0023001000000000), (0xC0000082, 0xFFFFFFFF_81800000), (0xC0000084, 0x47700),
        (0xC0000102, 0xFFFF8880_3EC00000), (0xC0000103, 7), (0x277, 0x0407050600070106), (0x2FF, 0xC06),
        (0x250, 0x0606060606060606), (0x200, 0x80000006), (0x201, 0xFF80000800), (0x1A0, 0x1), (0x48, 1),
    ],
)  # fmt: skip
def test_reads_back(index: int, value: int) -> None:
    rig = Rig("long")
    assert wrmsr(rig, index, value) is None
    assert rdmsr(rig, index) == value


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0xC0000082, 0x0000800000000000), (0xC0000100, 0x8000000000000000), (0x176, 1 << 63),  # not canonical
        (0xC0000080, 1 << 1), (0xC0000080, 1 << 15),  # reserved in EFER
        (0x277, 0x02), (0x277, 0x0800), (0x2FF, 0x02), (0x200, 1 << 40), (0x250, 7),  # no such memory type
        (0x48, 2), (0x49, 2), (0x174, 1 << 32), (0x17, 0), (0x10A, 0), (0xC0000103, 1 << 32),
        (0x12345678, 0), (0x4B564D02, 1), (0xDA0, 0),
    ],
)  # fmt: skip
def test_illegal_writes_fault(index: int, value: int) -> None:
    rig = Rig("long")
    assert wrmsr(rig, index, value) == GP
    assert rig.stack(1) == [0]


def test_unknown_registers_fault_and_are_counted() -> None:
    rig = Rig("long")
    assert rdmsr(rig, 0x12345678) is None and rig.vector == GP
    assert rig.cpu.counters()["unknown_msrs"] == 1


def test_features_gate_registers() -> None:
    assert wrmsr(Rig("protected", "pentium"), 0x174, 8) == GP
    assert wrmsr(Rig("protected", "pentium3"), 0x174, 8) is None
    assert rdmsr(Rig("protected", "pentium3"), 0x10A) is None


@pytest.mark.parametrize("code", ["0f30 f4", "0f32 f4"])
def test_ring_3_faults(code: str) -> None:
    rig = Rig("long")
    rig.set_ring(3)
    rig.regs.rcx = 0xC0000080
    rig.run(code)
    assert rig.vector == GP


def test_efer() -> None:
    rig = Rig("long")
    assert wrmsr(rig, 0xC0000080, 0x901) is None, "LMA can't be written, LME stays"
    assert rdmsr(rig, 0xC0000080) == 0xD01
    assert wrmsr(rig, 0xC0000080, 0x001) == GP, "LME with paging on"


def test_segment_bases() -> None:
    rig = Rig("long")
    assert wrmsr(rig, 0xC0000100, 0x123456789000) is None
    assert wrmsr(rig, 0xC0000101, 0x1000) is None
    assert wrmsr(rig, 0xC0000102, 0x2000) is None
    assert rig.cpu.segment("fs")[1] == 0x123456789000
    rig.run("0f01f8 f4")
    assert rig.cpu.segment("gs")[1] == 0x2000
    assert rdmsr(rig, 0xC0000102) == 0x1000


def test_tsc() -> None:
    rig = Rig("long")
    rig.run("0f31 f4")
    first = rig.regs.rdx << 32 | rig.regs.rax
    assert wrmsr(rig, 0x10, 1 << 60) is None
    rig.run("0f31 f4")
    second = rig.regs.rdx << 32 | rig.regs.rax
    assert (1 << 60) <= second < (1 << 60) + 10**10
    adjust = rdmsr(rig, 0x3B)
    assert adjust is not None and abs(adjust + first - second) < 10**10
    assert wrmsr(rig, 0x3B, 0) is None
    rig.run("0f31 f4")
    assert first <= (rig.regs.rdx << 32 | rig.regs.rax) < first + 10**10


def test_rdtscp_and_tsd() -> None:
    rig = Rig("long")
    wrmsr(rig, 0xC0000103, 0x1003)
    rig.run("0f01f9 f4")
    assert rig.regs.rcx == 0x1003
    rig.regs.cr4 = 0x24
    rig.run("0f31 f4")
    assert rig.vector is None, "CR4.TSD binds only rings 1 to 3"
    rig.set_ring(3)
    rig.run("0f31 f4")
    assert rig.vector == GP


def test_kvm_clock_page() -> None:
    rig = Rig("long")
    assert wrmsr(rig, 0x4B564D01, 0x50000 | 1) is None
    page = rig.memory.read(0x50000, 32)
    version = int.from_bytes(page[:4], "little")
    stamp, time = (int.from_bytes(page[k : k + 8], "little") for k in (8, 16))
    assert version and version % 2 == 0
    assert int.from_bytes(page[24:28], "little") == 0x80000000 and page[28] == 1 and page[29] == 1
    rig.run("0f31 f4")
    tsc = rig.regs.rdx << 32 | rig.regs.rax
    assert 0 <= ((tsc - stamp << 1) * 0x80000000 >> 32) < 10**10 and time == stamp
    assert rdmsr(rig, 0x4B564D01) == 0x50001


def test_kvm_clock_outside_ram_is_harmless() -> None:
    rig = Rig("long")
    assert wrmsr(rig, 0x12, 0xFFFFFFFF_FFFFF000 | 1) is None
    assert wrmsr(rig, 0x11, 0xFFFFFFFF_FFFFFFFC) is None


def test_wall_clock() -> None:
    import time

    rig = Rig("long")
    assert wrmsr(rig, 0x4B564D00, 0x50100) is None
    page = rig.memory.read(0x50100, 12)
    seconds = int.from_bytes(page[4:8], "little")
    assert seconds <= time.time() + 1 and int.from_bytes(page[8:12], "little") < 10**9


def test_x2apic() -> None:
    rig = Rig("long")
    assert rdmsr(rig, 0x802) is None, "not in x2APIC mode"
    assert wrmsr(rig, 0x1B, 0xFEE00D00) is None
    assert rdmsr(rig, 0x803) is not None
    assert rig.run("f4") == Reason.HLT
