"""Far JMP, CALL, RET and IRET: privilege, gates, stacks. SDM vol. 3, 5.8; vol. 2."""

from __future__ import annotations

import struct
import time

import pytest
from rig import (
    CODE,
    CODE0,
    CODE0_16,
    CODE3,
    DATA0,
    DATA3,
    DB,
    FREE,
    STACK0,
    STACK3,
    TSS,
    G,
    L,
    Rig,
    descriptor,
    gate,
)  # fmt: skip

NP, SS, GP, TS = 11, 12, 13, 10
TARGET = 0xA000
HALT3 = "cd40"


def far(opcode: str, selector: int, offset: int = TARGET, size: int = 4) -> bytes:
    return bytes.fromhex(opcode) + offset.to_bytes(size, "little") + selector.to_bytes(2, "little")


@pytest.fixture
def rig() -> Rig:
    machine = Rig("protected")
    machine.memory.write(TARGET, b"\xf4")
    machine.set_idt(0x40, 0xEE)
    return machine


def test_jump_and_call_same_level(rig: Rig) -> None:
    rig.run(far("ea", CODE0))
    assert rig.regs.rip == TARGET + 1 and rig.cpu.segment("cs")[0] == CODE0
    rig.run(far("9a", CODE0))
    assert rig.regs.rip == TARGET + 1
    assert rig.stack(2) == [CODE + 7, CODE0]


def test_real_mode() -> None:
    rig = Rig("real")
    rig.memory.write(0x12340 + 0x10, bytes.fromhex("cb"))  # retf
    rig.run(far("9a", 0x1234, 0x10, 2) + b"\xf4")
    assert rig.regs.rip == CODE + 6 and rig.cpu.segment("cs")[:2] == (0, 0) and rig.regs.rsp == 0x7000


def test_the_same_ip_in_another_segment_is_other_code() -> None:
    rig = Rig("real")
    # a stale block would jump to and fro for ever
    rig.cpu.set_deadline_ns(time.monotonic_ns() + 500_000_000)
    rig.memory.write(0xA000, bytes.fromhex("eb00 40") + far("ea", 0xB00, 0, 2))
    rig.memory.write(0xB000, bytes.fromhex("eb00 43 f4"))
    rig.run(far("ea", 0xA00, 0, 2))
    assert (rig.regs.rip, rig.regs.rax, rig.regs.rbx) == (4, 1, 1)


@pytest.mark.parametrize(
    ("attr", "selector", "expected"),
    [
        (0x9A, FREE, None), (0x9A, FREE | 3, (GP, FREE)), (0x9E, FREE | 3, None), (0x1A, FREE, (NP, FREE)),
        (0xFA, FREE, (GP, FREE)), (0xFE, FREE, (GP, FREE)), (0x92, FREE, (GP, FREE)),
        (0x8E, FREE, (GP, FREE)),
    ],
)  # fmt: skip
def test_code_segment_checks(rig: Rig, attr: int, selector: int, expected: tuple[int, int] | None) -> None:
    rig.set_gdt(FREE, descriptor(0, 0xFFFFF, attr | G | DB))
    rig.run(far("ea", selector))
    if expected is None:
        assert rig.regs.rip == TARGET + 1
        assert rig.cpu.segment("cs")[0] == FREE, "RPL becomes CPL"
    else:
        assert (rig.vector, rig.stack(1)[0]) == expected


def test_null_and_limit(rig: Rig) -> None:
    rig.run(far("ea", 3))
    assert rig.vector == GP and rig.stack(2) == [0, CODE]
    rig.set_gdt(FREE, descriptor(0, TARGET - 1, 0x9A | DB))
    rig.run(far("9a", FREE))
    assert rig.vector == GP and rig.stack(1) == [0]
    assert rig.regs.rsp == STACK0 - 16 - 16, "the return address was not pushed"


def test_indirect(rig: Rig) -> None:
    rig.memory.write(0x50000, struct.pack("<IH", TARGET, CODE0))
    rig.run("ff2d00000500")
    assert rig.regs.rip == TARGET + 1


def test_call_gate_to_the_inner_ring_copies_parameters(rig: Rig) -> None:
    rig.set_gdt(FREE, gate(CODE0, TARGET, 0xEC, 3))
    rig.set_ring(3)
    rig.memory.write(STACK3 - 12, struct.pack("<III", 11, 22, 33))
    rig.regs.rsp = STACK3 - 12
    rig.run(far("9a", FREE | 3, 0xDEAD) + bytes.fromhex(HALT3))
    assert rig.stack(7) == [CODE + 7, CODE3, 11, 22, 33, STACK3 - 12, DATA3]
    rig.run("ca0c00", TARGET)  # retf 12 releases them on both stacks
    assert rig.vector == 0x40
    assert rig.stack(5) == [CODE + 9, CODE3, 2, STACK3, DATA3]


def test_call_gate_16(rig: Rig) -> None:
    rig.set_gdt(FREE, gate(CODE0, TARGET, 0xE4, 1))
    rig.set_ring(3)
    rig.memory.write(STACK3 - 2, struct.pack("<H", 0x77))
    rig.regs.rsp = STACK3 - 2
    rig.run(far("9a", FREE | 3))
    assert rig.regs.rip == TARGET + 1
    assert rig.stack(5, 2) == [CODE + 7, CODE3, 0x77, (STACK3 - 2) & 0xFFFF, DATA3]


@pytest.mark.parametrize(
    ("attr", "target", "expected"),
    [(0x8C, CODE0, (GP, FREE)), (0x6C, CODE0, (NP, FREE)), (0xEC, 0, (GP, 0)), (0xEC, DATA0, (GP, DATA0)),
     (0xEC, 0x1F8, (GP, 0x1F8))],
)  # fmt: skip
def test_call_gate_checks(rig: Rig, attr: int, target: int, expected: tuple[int, int]) -> None:
    rig.set_gdt(FREE, gate(target, TARGET, attr))
    rig.set_ring(3)
    rig.run(far("9a", FREE | 3))
    assert (rig.vector, rig.stack(1)[0]) == expected
    assert rig.stack(2)[1] == CODE


def test_jump_through_a_gate_stays_at_its_level(rig: Rig) -> None:
    rig.set_gdt(FREE, gate(CODE0, TARGET, 0xEC))
    rig.run(far("ea", FREE))
    assert rig.regs.rip == TARGET + 1
    rig.set_ring(3)
    rig.run(far("ea", FREE | 3))
    assert rig.vector == GP and rig.stack(1) == [CODE0]


@pytest.mark.parametrize(("ss", "expected"), [(CODE0, (TS, CODE0)), (DATA3, (TS, DATA3 & ~3)), (0, (TS, 0))])
def test_inner_stack_checks(rig: Rig, ss: int, expected: tuple[int, int]) -> None:
    """The faulting CALL comes from ring 1, so that ring 0's stack serves the #TS."""
    rig.set_gdt(FREE, gate(0x60, TARGET, 0xEC))
    rig.set_gdt(0x60, descriptor(0, 0xFFFFF, 0xBA | G | DB))  # ring 1 code
    rig.memory.write(TSS + 12, struct.pack("<II", 0x38000, ss))
    rig.set_ring(3)
    rig.run(far("9a", FREE | 3))
    assert (rig.vector, rig.stack(1)[0]) == expected


def test_return_to_the_outer_ring_drops_segments(rig: Rig) -> None:
    for value in (DATA3, STACK3, CODE3, TARGET):
        rig.regs.rsp -= 4
        rig.memory.write(rig.regs.rsp, struct.pack("<I", value))
    rig.memory.write(TARGET, bytes.fromhex(HALT3))
    rig.set_gdt(FREE, descriptor(0, 0xFFFFF, 0xF2 | G | DB))
    rig.regs.rax = FREE | 3
    rig.run("8ee0 cb")  # mov fs, ax; retf
    assert rig.vector == 0x40
    assert rig.stack(5) == [TARGET + 2, CODE3, 2, STACK3, DATA3]
    assert rig.cpu.segment("ds")[3] == 0x10000, "DPL 0 in ring 3"
    assert rig.cpu.segment("fs")[0] == FREE | 3


def test_a_segment_dropped_on_the_way_out_keeps_its_base() -> None:
    """64-bit code reaches its thread's data through GS, whatever selector was there before."""
    rig = Rig("long")
    rig.cpu.set_segment("gs", DATA0, 0x50000, 0xFFFFFFFF, 0x93 | G | DB)
    rig.memory.write(0x50008, (0x1234).to_bytes(8, "little"))
    rig.memory.write(TARGET, bytes.fromhex("65488b042508000000" + HALT3))  # mov rax, gs:[8]
    rig.set_idt(0x40, 0xEE)
    iret_frame(rig, TARGET, CODE3, 2, STACK3, DATA3, size=8)
    rig.run("48cf")
    assert rig.vector == 0x40 and rig.regs.rax == 0x1234
    assert rig.cpu.segment("gs")[0] == 0 and rig.cpu.segment("gs")[3] == 0x10000


def iret_frame(rig: Rig, *values: int, size: int = 4) -> None:
    for value in reversed(values):
        rig.regs.rsp -= size
        rig.memory.write(rig.regs.rsp, value.to_bytes(size, "little"))


def test_iret_same_level_and_flags(rig: Rig) -> None:
    iret_frame(rig, TARGET, CODE0, 0x3ED7 | 0x200000)
    rig.run("cf")
    assert rig.regs.rip == TARGET + 1 and rig.regs.rsp == STACK0
    assert rig.regs.rflags == 0x3ED7 | 0x200000


def test_iret_to_ring_3_and_flags_it_may_not_change(rig: Rig) -> None:
    rig.memory.write(TARGET, bytes.fromhex("cf"))
    iret_frame(rig, TARGET, CODE3, 2, STACK3, DATA3)
    rig.memory.write(STACK3, struct.pack("<III", TARGET + 0x10, CODE3, 0x3202))
    rig.memory.write(TARGET + 0x10, bytes.fromhex(HALT3))
    rig.run("cf")
    assert rig.vector == 0x40
    assert rig.stack(3) == [TARGET + 0x12, CODE3, 2], "IF and IOPL are ring 0's"


@pytest.mark.parametrize(
    ("cs", "ss", "expected"),
    [(CODE3, DATA0, (GP, DATA0)), (CODE3, 0, (GP, 0)), (CODE0 | 3, DATA3, (GP, CODE0)), (0, DATA3, (GP, 0)),
     (DATA3, DATA3, (GP, DATA3 & ~3))],
)  # fmt: skip
def test_iret_checks(rig: Rig, cs: int, ss: int, expected: tuple[int, int]) -> None:
    iret_frame(rig, TARGET, cs, 2, STACK3, ss)
    rig.run("cf")
    assert (rig.vector, rig.stack(1)[0]) == expected
    assert rig.regs.rsp == STACK0 - 20 - 16, "IRET popped nothing"


def test_iret_inwards_is_refused(rig: Rig) -> None:
    rig.set_ring(3)
    iret_frame(rig, TARGET, CODE0, 2)
    rig.run("cf")
    assert rig.vector == GP and rig.stack(1) == [CODE0]


# -- long mode --


@pytest.fixture
def long() -> Rig:
    machine = Rig("long")
    machine.memory.write(TARGET, b"\xf4")
    machine.set_idt(0x40, 0xEE)
    return machine


def test_iretq_always_takes_the_stack(long: Rig) -> None:
    iret_frame(long, TARGET, CODE0, 0x202, 0x34567, 0, size=8)
    long.run("48cf")
    assert long.regs.rip == TARGET + 1 and long.regs.rsp == 0x34567 and long.cpu.segment("ss")[0] == 0


def test_iretq_to_ring_3(long: Rig) -> None:
    long.memory.write(TARGET, bytes.fromhex(HALT3))
    iret_frame(long, TARGET, CODE3, 0x202, STACK3, DATA3, size=8)
    long.run("48cf")
    assert long.vector == 0x40 and long.stack(5) == [TARGET + 2, CODE3, 0x202, STACK3, DATA3]
    iret_frame(long, TARGET, CODE3, 0x202, STACK3, 3, size=8)
    long.run("48cf")
    assert long.vector == GP and long.stack(1) == [0], "no null stack in ring 3"


@pytest.mark.parametrize("rip", [0x8000_0000_0000, 1 << 63])
def test_iretq_checks_the_address(long: Rig, rip: int) -> None:
    iret_frame(long, rip, CODE0, 2, STACK0, 0, size=8)
    long.run("48cf")
    assert long.vector == GP and long.stack(2) == [0, CODE]


def test_iret_with_nt_faults_in_long_mode(long: Rig) -> None:
    long.regs.rflags = 0x4002
    iret_frame(long, TARGET, CODE0, 2, STACK0, 0, size=8)
    long.run("48cf")
    assert long.vector == GP


def test_64_bit_call_gate(long: Rig) -> None:
    long.set_gdt(FREE, gate(CODE0, TARGET, 0xEC) + bytes(8))
    long.memory.write(0x50000, struct.pack("<QH", 0, FREE | 3))
    long.set_ring(3)
    long.run("48ff1c2500000500" + HALT3)
    assert long.stack(4) == [CODE + 8, CODE3, STACK3, DATA3]
    long.run("48cb", TARGET)
    assert long.vector == 0x40 and long.stack(5) == [CODE + 10, CODE3, 2, STACK3, DATA3]


def test_to_compatibility_mode_and_back(long: Rig) -> None:
    long.set_gdt(FREE, descriptor(0, 0xFFFFF, 0x9B | G | DB))
    long.memory.write(0x50000, struct.pack("<IH", TARGET, FREE))
    # mov eax, 5; dec eax (40h and 48h are INC and DEC there); jmpf 64-bit code
    long.memory.write(TARGET, bytes.fromhex("b805000000 48") + far("ea", CODE0, TARGET + 0x20))
    long.memory.write(TARGET + 0x20, bytes.fromhex("48c1e020 f4"))  # shl rax, 32; hlt
    long.run("ff2c2500000500")
    assert long.vector is None and long.regs.rax == 4 << 32


def test_code_segment_with_l_and_d(long: Rig) -> None:
    long.set_gdt(FREE, descriptor(0, 0xFFFFF, 0x9B | G | DB | L))
    long.memory.write(0x50000, struct.pack("<IH", TARGET, FREE))
    long.run("ff2c2500000500")
    assert long.vector == GP and long.stack(1) == [FREE]


def test_16_bit_code(rig: Rig) -> None:
    rig.memory.write(TARGET, bytes.fromhex("b83412 f4"))  # mov ax, 1234h there
    rig.regs.rax = 0xFFFFFFFF
    rig.run(far("ea", CODE0_16))
    assert rig.regs.rax == 0xFFFF1234 and rig.regs.rip == TARGET + 4
