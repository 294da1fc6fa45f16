"""Hardware task switch and the I/O permission bitmap. SDM vol. 3, chapter 8; vol. 1, 19.5."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, CODE0, CODE3, DATA0, DATA3, FREE, GDT, IDT, TSS, TSS_SEL, Rig, descriptor, gate

from ringfence.core.exits import Reason

NEW = 0x6000
TARGET = 0xA000
TS, NP, SS, GP, DB = 10, 11, 12, 13, 1
REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
FAR = struct.Struct("<BIH")


def tss32(eip: int = TARGET, eflags: int = 2, cs: int = CODE0, ds: int = DATA0, **values: int) -> bytes:
    """A 32-bit TSS; registers hold 100h, 101h, … unless named."""
    content = bytearray(0x68)
    struct.pack_into("<II", content, 4, 0x20000, DATA0)
    struct.pack_into("<II", content, 0x20, eip, eflags)
    for k, name in enumerate(REGISTERS):
        struct.pack_into(
            "<I", content, 0x28 + 4 * k, values.get(name, 0x100 + k if name != "rsp" else 0x38000)
        )
    segments = [ds, cs, values.get("ss", ds), ds, values.get("fs", ds), ds]
    for k, selector in enumerate(segments):
        struct.pack_into("<I", content, 0x48 + 4 * k, selector)
    struct.pack_into("<I", content, 0x60, values.get("ldt", 0))
    struct.pack_into("<HH", content, 0x64, values.get("trap", 0), 0x68)
    return bytes(content)


@pytest.fixture
def rig() -> Rig:
    machine = Rig("protected")
    machine.set_gdt(FREE, descriptor(NEW, 0x67, 0x89))
    machine.memory.write(NEW, tss32())
    machine.memory.write(TARGET, b"\xf4")
    return machine


def jump(rig: Rig, opcode: int = 0xEA, selector: int = FREE) -> Reason:
    return rig.run(FAR.pack(opcode, 0, selector) + b"\xf4")


def busy(rig: Rig, selector: int) -> bool:
    return bool(rig.memory.read(GDT + selector + 5, 1)[0] & 2)


def word(rig: Rig, at: int, size: int = 4) -> int:
    return int.from_bytes(rig.memory.read(at, size), "little")


def test_jump_saves_the_old_task_and_loads_the_new(rig: Rig) -> None:
    rig.regs.rdi, rig.regs.rflags = 0x1234, 0x4D7
    assert jump(rig) == Reason.HLT
    assert rig.regs.rip == TARGET + 1
    assert [getattr(rig.regs, name) for name in REGISTERS if name != "rsp"] == [
        0x100, 0x101, 0x102, 0x103, 0x105, 0x106, 0x107,
    ]  # fmt: skip
    assert rig.regs.rsp == 0x38000
    assert word(rig, TSS + 0x20) == CODE + 7 and word(rig, TSS + 0x24) == 0x4D7
    assert word(rig, TSS + 0x44) == 0x1234 and word(rig, TSS + 0x4C) == CODE0
    assert rig.cpu.segment("tr") == (FREE, NEW, 0x67, 0x8B)
    assert busy(rig, FREE) and not busy(rig, TSS_SEL)
    assert rig.regs.cr0 & 8, "TS"
    assert not rig.regs.rflags & 0x4000


def test_call_nests_and_iret_returns(rig: Rig) -> None:
    rig.memory.write(TARGET, bytes.fromhex("40 cf 40 f4"))  # inc eax; iret; inc eax; hlt
    assert jump(rig, 0x9A) == Reason.HLT
    assert rig.regs.rip == CODE + 8, "back after the CALL"
    assert busy(rig, TSS_SEL) and not busy(rig, FREE)
    assert word(rig, NEW, 2) == TSS_SEL, "the link"
    assert word(rig, NEW + 0x28) == 0x101 and word(rig, NEW + 0x20) == TARGET + 2
    assert not word(rig, NEW + 0x24) & 0x4000, "NT is cleared in what IRET leaves"
    jump(rig, 0x9A)
    assert rig.regs.rip == TARGET + 4 and rig.regs.rflags & 0x4000, "it goes on where it was"


def test_to_ring_3(rig: Rig) -> None:
    rig.memory.write(NEW, tss32(cs=CODE3, ds=DATA3, eflags=0x202))
    rig.memory.write(TARGET, bytes.fromhex("cd40"))
    rig.set_idt(0x40, 0xEE)
    jump(rig)
    assert rig.vector == 0x40
    assert rig.stack(5) == [TARGET + 2, CODE3, 0x202, 0x38000, DATA3]


def test_exception_through_a_task_gate(rig: Rig) -> None:
    rig.memory.write(IDT + 8 * GP, gate(FREE, 0, 0x85))
    rig.regs.rax = 0x1F8
    rig.run("8ed8")
    assert rig.regs.rip == TARGET + 1
    assert rig.stack(1) == [0x1F8] and rig.regs.rsp == 0x38000 - 4, "the error code is on the new stack"
    assert word(rig, TSS + 0x20) == CODE and word(rig, TSS + 0x24) & 0x10000, "RF: it can be restarted"
    assert rig.regs.rflags & 0x4000


def test_task_gate_in_the_gdt(rig: Rig) -> None:
    rig.set_gdt(0x60, gate(FREE, 0, 0x85))
    jump(rig, selector=0x60)
    assert rig.regs.rip == TARGET + 1


@pytest.mark.parametrize(
    ("attr", "limit", "expected"),
    [(0x89, 0x66, TS), (0x09, 0x67, NP), (0x8B, 0x67, GP), (0x82, 0x67, GP)],
)
def test_checks_before_the_switch(rig: Rig, attr: int, limit: int, expected: int) -> None:
    rig.set_gdt(FREE, descriptor(NEW, limit, attr))
    jump(rig)
    assert rig.vector == expected and rig.stack(2) == [FREE, CODE]
    assert rig.cpu.segment("tr")[0] == TSS_SEL


@pytest.mark.parametrize(
    ("new", "vector", "error"),
    [
        ({"cs": 0}, TS, 0), ({"cs": DATA0}, TS, DATA0), ({"cs": CODE3 & ~3}, TS, CODE3 & ~3),
        ({"ss": 0}, TS, 0), ({"ss": DATA3}, TS, DATA3 & ~3), ({"fs": 0x1F8}, TS, 0x1F8),
        ({"ldt": CODE0}, TS, CODE0),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_new_task_is_its_own_fault(
    rig: Rig, new: dict[str, int], vector: int, error: int
) -> None:
    """Served by a task gate, so that the new task's stack does not matter."""
    rig.memory.write(NEW, tss32(**new))
    rig.set_gdt(0x60, descriptor(0x7000, 0x67, 0x89))
    rig.memory.write(0x7000, tss32(eip=0xB000, rsp=0x3A000))
    rig.memory.write(0xB000, b"\xf4")
    rig.memory.write(IDT + 8 * vector, gate(0x60, 0, 0x85))
    jump(rig)
    assert rig.regs.rip == 0xB001
    assert word(rig, 0x3A000 - 4) == error
    assert word(rig, NEW + 0x20) == TARGET, "the fault is at the new task's first instruction"


def test_trap_bit(rig: Rig) -> None:
    rig.memory.write(NEW, tss32(trap=1))
    jump(rig)
    assert rig.vector == DB and rig.regs.dr6 & 0x8000
    assert rig.stack(1) == [TARGET]


def test_to_virtual_8086_mode(rig: Rig) -> None:
    rig.memory.write(NEW, tss32(eip=0x20, eflags=0x23002, cs=0xA00, ds=0x1000, rsp=0x100))
    rig.memory.write(0xA020, bytes.fromhex("8cd8 cd40"))  # mov ax, ds; int 40h
    rig.set_idt(0x40, 0xEE)
    jump(rig)
    assert rig.vector == 0x40
    assert rig.stack(4) == [0x24, 0xA00, 0x23002, 0x100]
    assert rig.regs.rax & 0xFFFF == 0x1000


def test_16_bit_tss(rig: Rig) -> None:
    content = bytearray(0x2C)
    struct.pack_into("<HH", content, 0x0E, TARGET, 2)
    struct.pack_into("<8H", content, 0x12, 1, 2, 3, 4, 0x7000, 6, 7, 8)
    struct.pack_into("<4HH", content, 0x22, DATA0, CODE0, DATA0, DATA0, 0)
    rig.memory.write(NEW, bytes(content))
    rig.set_gdt(FREE, descriptor(NEW, 0x2B, 0x81))
    jump(rig)
    assert rig.regs.rip == TARGET + 1
    assert (rig.regs.rax & 0xFFFF, rig.regs.rdi & 0xFFFF) == (1, 8)
    assert rig.cpu.segment("fs")[0] == 0


# -- ports --


@pytest.mark.parametrize(
    ("port", "size", "allowed"),
    [(0x60, 1, True), (0x61, 1, False), (0x60, 2, False), (0x64, 4, True), (0x65, 4, False), (0x3FF, 1, True),
     (0x400, 1, False)],
)  # fmt: skip
def test_io_bitmap(rig: Rig, port: int, size: int, allowed: bool) -> None:
    bitmap = bytearray(0x80) + b"\xff"
    for closed in (0x61, 0x68):
        bitmap[closed >> 3] |= 1 << (closed & 7)
    rig.memory.write(TSS + 0x68, bytes(bitmap))
    rig.cpu.set_segment("tr", TSS_SEL, TSS, 0x68 + 0x80, 0x8B)
    rig.set_ring(3)
    rig.regs.rdx = port
    reason = rig.run({1: "ec", 2: "66ed", 4: "ed"}[size])
    assert (reason == Reason.IO) == allowed
    if not allowed:
        assert rig.vector == GP


def test_io_privilege_level(rig: Rig) -> None:
    rig.cpu.set_segment("tr", TSS_SEL, TSS, 0x67, 0x8B)
    rig.set_ring(3)
    rig.regs.rflags = 0x3002
    assert rig.run("ec") == Reason.IO
    rig.cpu.exit.data = 0x55
    rig = Rig("protected")
    rig.cpu.set_segment("tr", TSS_SEL, TSS, 0x67, 0x8B)
    rig.enter_v86(iopl=3)
    rig.run("ec")
    assert rig.vector == GP, "in virtual-8086 mode only the bitmap counts"
