"""SYSCALL SYSRET SYSENTER SYSEXIT, as Intel and as AMD have them. SDM vol. 2; APM vol. 2, 6.1."""

from __future__ import annotations

import pytest
from rig import CODE, CODE3, DATA3, STACK3, Rig

UD, GP = 6, 13
TARGET = 0xA000
STAR, LSTAR, CSTAR, SFMASK = 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084


def set_msr(rig: Rig, index: int, value: int) -> None:
    rig.regs.rcx, rig.regs.rax, rig.regs.rdx = index, value & 0xFFFFFFFF, value >> 32
    rig.run("0f30 f4")
    assert rig.vector is None


def prepare(model: str = "max") -> Rig:
    rig = Rig("long", model)
    set_msr(rig, STAR, 0x0030_0008_0000_0000 | 0xB000)
    set_msr(rig, LSTAR, TARGET)
    set_msr(rig, SFMASK, 0x300)
    for index, value in ((0x174, 8), (0x175, 0x2A000), (0x176, TARGET)):
        set_msr(rig, index, value)
    rig.memory.write(TARGET, b"\xf4")
    rig.regs.efer = 0xD01
    return rig


def test_syscall() -> None:
    rig = prepare()
    rig.set_ring(3)
    rig.regs.rflags = 0x40202
    rig.run("0f05")
    assert rig.regs.rip == TARGET + 1 and rig.regs.rcx == CODE + 2 and rig.regs.r11 == 0x40202
    assert rig.regs.rflags == 0x40002 and rig.regs.rsp == STACK3
    assert rig.cpu.segment("cs") == (8, 0, 0xFFFFFFFF, 0xA09B)
    assert rig.cpu.segment("ss") == (0x10, 0, 0xFFFFFFFF, 0xC093)


def test_sysret() -> None:
    rig = prepare()
    rig.set_idt(0x40, 0xEE)
    rig.memory.write(TARGET, bytes.fromhex("cd40"))
    rig.regs.rcx, rig.regs.r11 = TARGET, 0x3F7FD7 & ~0x100
    rig.run("480f07")
    assert rig.vector == 0x40
    assert rig.stack(5)[:3] == [TARGET + 2, 0x43, 0x3C7ED7 & ~RF]
    assert rig.stack(5)[4] == 0x3B
    rig.regs.rcx = TARGET
    rig.run("0f07")
    assert rig.stack(2)[1] == 0x33, "32-bit code"


RF = 0x10000
TF, DB = 0x100, 1


def test_syscall_and_sysret_trap_by_the_flags_they_leave() -> None:
    """SFMASK clears TF: no trap in the kernel, though TF was set before. SYSRET sets it: a trap at once."""
    rig = prepare()
    rig.set_ring(3)
    rig.regs.rflags = TF | 2
    rig.run("0f05")
    assert rig.vector is None and rig.regs.rip == TARGET + 1
    assert rig.regs.r11 == TF | 2
    rig = prepare()
    rig.regs.rcx, rig.regs.r11 = TARGET, TF | 2
    rig.run("480f07")
    assert rig.vector == DB and rig.stack(2) == [TARGET, 0x43]
    assert rig.stack(3)[2] & TF


@pytest.mark.parametrize(("model", "ring"), [("max", 0), ("opteron", 3)])
def test_sysret_to_a_non_canonical_address(model: str, ring: int) -> None:
    """Intel faults in ring 0, AMD in ring 3."""
    rig = prepare(model)
    rig.regs.rcx = 1 << 47
    rig.run("480f07")
    assert rig.vector == GP and rig.stack(3)[2] & 3 == ring


def test_needs_sce() -> None:
    rig = prepare()
    rig.regs.efer = 0xD00
    rig.run("0f05")
    assert rig.vector == UD


def compatibility(rig: Rig) -> None:
    rig.set_ring(3)
    rig.cpu.set_segment("cs", CODE3, 0, 0xFFFFFFFF, 0xC0FB)


def test_syscall_from_compatibility_mode() -> None:
    rig = prepare()
    compatibility(rig)
    rig.run("0f05")
    assert rig.vector == UD, "not on Intel"
    rig = prepare("opteron")
    set_msr(rig, CSTAR, TARGET + 0x100)
    rig.memory.write(TARGET + 0x100, b"\xf4")
    compatibility(rig)
    rig.run("0f05")
    assert rig.regs.rip == TARGET + 0x101 and rig.cpu.segment("cs")[3] == 0xA09B


def test_sysenter_and_sysexit() -> None:
    rig = prepare()
    compatibility(rig)
    rig.regs.rflags = 0x202
    rig.run("0f34")
    assert rig.regs.rip == TARGET + 1 and rig.regs.rsp == 0x2A000 and not rig.regs.rflags & 0x200
    assert rig.cpu.segment("cs")[3] == 0xA09B and rig.cpu.segment("ss")[0] == 0x10
    rig.set_idt(0x40, 0xEE)
    rig.memory.write(TARGET, bytes.fromhex("cd40"))
    rig.regs.rdx, rig.regs.rcx = TARGET, 0x31000
    rig.run("0f35")
    assert rig.vector == 0x40
    assert rig.stack(5)[:2] == [TARGET + 2, 0x1B] and rig.stack(5)[3:] == [0x31000, 0x23]
    rig.run("480f35")
    assert rig.vector == 0x40 or rig.vector == GP


def test_sysenter_on_amd_and_without_a_segment() -> None:
    rig = prepare("opteron")
    compatibility(rig)
    rig.run("0f34")
    assert rig.vector == UD
    rig = prepare()
    set_msr(rig, 0x174, 0)
    rig.set_ring(3)
    rig.run("0f34")
    assert rig.vector == GP
    assert DATA3 == 0x23
