"""Virtual-8086 mode, its extensions (VME), protected-mode virtual interrupts. SDM vol. 3, chapter 20."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, CODE0, CODE3, DATA0, HANDLERS, STACK0, TSS, Rig

from ringfence.core.exits import Reason

GP, UD, DB, BP = 13, 6, 1, 3
IF, IOPL3, VIF, VIP, VM, TF = 0x200, 0x3000, 0x80000, 0x100000, 0x20000, 0x100
VME, PVI = 1, 2


@pytest.fixture
def rig() -> Rig:
    machine = Rig("protected")
    # I/O map at 0x88: the interrupt redirection bitmap is the 32 bytes below it
    machine.memory.write(TSS + 0x66, struct.pack("<H", 0x88))
    return machine


def test_fault_enters_ring_0_with_all_segments(rig: Rig) -> None:
    rig.enter_v86()
    for k, name in enumerate(("es", "ds", "fs", "gs")):
        rig.cpu.set_segment(name, 0x100 + k, 0x1000 + 16 * k, 0xFFFF, 0xF3)
    rig.run("0f0b")
    assert rig.vector == UD
    assert rig.stack(9) == [CODE, 0, 0x10000 | VM | 2, 0x7000, 0, 0x100, 0x101, 0x102, 0x103]
    assert rig.regs.rsp == STACK0 - 36
    assert [rig.cpu.segment(name)[0] for name in ("es", "ds", "fs", "gs")] == [0] * 4
    assert rig.cpu.segment("cs")[0] == CODE0 and rig.cpu.segment("ss")[0] == DATA0
    assert not rig.regs.rflags & VM


def test_iretd_goes_back(rig: Rig) -> None:
    frame = [0x10, 0x900, VM | IOPL3 | IF | 2, 0x6000, 0x1000, 0xE, 0xD, 0xF, 0x6]
    rig.regs.rsp -= 36
    rig.memory.write(rig.regs.rsp, struct.pack("<9I", *frame))
    rig.memory.write(0x9010, bytes.fromhex("9c 58 8cc3 8cd1 8ce2 8cee 0f0b"))
    rig.run("cf")
    assert rig.vector == UD
    assert rig.regs.rax & 0xFFFF == IOPL3 | IF | 2
    names = ("rbx", "rcx", "rdx", "rsi")
    assert [getattr(rig.regs, name) & 0xFFFF for name in names] == [0xE, 0x1000, 0xF, 0x6]
    assert rig.stack(4)[3] == 0x6000


@pytest.mark.parametrize("code", ["fa", "fb", "9c", "9d", "cf", "cd21"])
def test_iopl_sensitive(rig: Rig, code: str) -> None:
    rig.enter_v86(iopl=0)
    rig.run(code)
    assert rig.vector == GP and rig.stack(2) == [0, CODE]


def test_with_iopl_3_the_program_has_its_flags(rig: Rig) -> None:
    rig.enter_v86(iopl=3)
    rig.set_idt(0x40, 0xEE)
    rig.run("fb 9c 58 fa 9c 5b cd40")  # sti; pushf; pop ax; cli; pushf; pop bx; int 40h
    assert rig.vector == 0x40
    assert rig.regs.rax & 0xFFFF == IF | IOPL3 | 2 and rig.regs.rbx & 0xFFFF == IOPL3 | 2


def test_int3_needs_no_iopl_but_the_gates_dpl(rig: Rig) -> None:
    rig.enter_v86(iopl=0)
    rig.run("cc")
    assert rig.vector == GP and rig.stack(1) == [BP * 8 + 2]
    rig.set_idt(BP, 0xEE)
    rig.enter_v86(iopl=0)
    rig.run("cc")
    assert rig.vector == BP


def test_handler_must_be_ring_0(rig: Rig) -> None:
    rig.set_idt(UD, 0x8E, selector=CODE3)
    rig.enter_v86()
    rig.run("0f0b")
    assert rig.vector == GP and rig.stack(1) == [CODE3 & ~3 | 1]


# -- the extensions --


def test_vme_cli_sti_work_on_vif(rig: Rig) -> None:
    rig.regs.cr4 = VME
    rig.enter_v86()
    rig.run("fb 9c 58 fa 9c 5b 0f0b")
    assert rig.regs.rax & 0xFFFF == IOPL3 | IF | 2, "PUSHF shows VIF as IF, and IOPL 3"
    assert rig.regs.rbx & 0xFFFF == IOPL3 | 2
    assert not rig.stack(3)[2] & (IF | VIF)


def test_vme_sti_with_an_interrupt_pending(rig: Rig) -> None:
    rig.regs.cr4 = VME
    rig.enter_v86()
    rig.regs.rflags |= VIP
    rig.run("fb")
    assert rig.vector == GP


@pytest.mark.parametrize(("image", "faults"), [(0x202, False), (0x302, True), (0x3, False)])
def test_vme_popf(rig: Rig, image: int, faults: bool) -> None:
    rig.regs.cr4 = VME
    rig.enter_v86()
    rig.memory.write(0x6FFE, struct.pack("<H", image))
    rig.regs.rsp = 0x6FFE
    rig.run("9d 0f0b")
    assert rig.vector == (GP if faults else UD)
    if not faults:
        flags = rig.stack(3)[2]
        assert bool(flags & VIF) == bool(image & IF) and flags & 1 == image & 1 and not flags & IF


def test_vme_redirects_interrupts(rig: Rig) -> None:
    rig.regs.cr4 = VME
    rig.memory.write(TSS + 0x68, bytes([0, 0, 0, 0, 1 << 1]) + bytes(27))  # INT 21h goes to the monitor
    rig.memory.write(0x20 * 4, struct.pack("<HH", 0x20, 0xA00))
    rig.memory.write(0xA020, bytes.fromhex("0f0b"))
    rig.enter_v86()
    rig.regs.rflags |= VIF
    rig.run("cd20")
    assert rig.vector == UD and rig.stack(4)[:2] == [0x20, 0xA00]
    assert rig.stack(4)[3] == 0x7000 - 6
    assert struct.unpack("<3H", rig.memory.read(0x7000 - 6, 6)) == (CODE + 2, 0, IOPL3 | IF | 2)
    assert not rig.stack(3)[2] & VIF
    rig.enter_v86()
    rig.run("cd21")
    assert rig.vector == GP, "IOPL 0: the monitor emulates it"


def test_pvi(rig: Rig) -> None:
    rig.set_ring(3)
    rig.run("fb")
    assert rig.vector == GP
    rig.regs.cr4 = PVI
    rig.set_ring(3)
    rig.run("fb 0f0b")
    assert rig.vector == UD and rig.stack(3)[2] & VIF
    rig.set_ring(3)
    rig.run("fa 0f0b")
    assert not rig.stack(3)[2] & VIF


def test_no_virtual_8086_mode_in_long_mode() -> None:
    rig = Rig("long")
    rig.regs.rsp -= 40
    rig.memory.write(rig.regs.rsp, struct.pack("<5Q", HANDLERS, CODE0, VM | 2, STACK0, 0))
    assert rig.run("48cf") == Reason.HLT
    assert not rig.regs.rflags & VM
