"""Event delivery: frames, privilege, gates, the double-fault table. SDM vol. 3, chapter 6."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, CODE0, CODE3, DATA0, DATA3, HANDLERS, IDT, IST1, STACK0, STACK3, TSS, Rig

from ringfence.core.exits import Reason

UD2 = "0f0b"
DE, DB, BP, OF, BR, UD, DF, TS, NP, SS, GP, PF = 0, 1, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14
FLAG_TF, FLAG_IF, FLAG_NT, FLAG_RF = 0x100, 0x200, 0x4000, 0x10000


# -- real mode --


def test_real_mode_frame() -> None:
    rig = Rig("real")
    rig.regs.rflags = FLAG_IF | 0x40 | 2
    rig.run("cd21")
    assert rig.vector == 0x21
    assert rig.stack(3) == [CODE + 2, 0, FLAG_IF | 0x42]
    assert not rig.regs.rflags & FLAG_IF


def test_real_mode_fault_points_at_the_instruction_and_pushes_no_error() -> None:
    rig = Rig("real")
    rig.regs.rbx = 0xFFFF
    rig.run("8b07")  # mov ax, [bx]: a word at FFFFh crosses the limit
    assert rig.vector == GP
    assert rig.stack(2) == [CODE, 0]


def test_real_mode_idt_limit() -> None:
    """A vector past the limit: #GP past it too, then shutdown."""
    rig = Rig("real")
    rig.cpu.idtr = (0, 0x21 * 4 + 3)
    rig.run("cd21")
    assert rig.vector == 0x21
    rig.run("cd22")
    assert rig.vector == GP
    rig.cpu.idtr = (0, 3)
    assert rig.run("cd22") == Reason.SHUTDOWN


def test_real_mode_relocated_table() -> None:
    rig = Rig("real")
    rig.memory.write(0x5000 + 4 * 3, struct.pack("<HH", HANDLERS + 16 * 0x80, 0))
    rig.cpu.idtr = (0x5000, 0x3FF)
    rig.run("cc")
    assert rig.vector == 0x80


# -- protected mode --


def test_same_ring_frame_with_error_code() -> None:
    rig = Rig("protected")
    rig.regs.rax = 0x1234 & ~7 | 4
    rig.run("8ed8")  # mov ds, ax: no LDT
    assert rig.vector == GP
    assert rig.stack(4) == [0x1230 | 4, CODE, CODE0, FLAG_RF | 2]


def test_inner_ring_frame() -> None:
    rig = Rig("protected")
    rig.set_ring(3)
    rig.regs.rflags = 0x202
    rig.run(UD2)
    assert rig.vector == UD
    assert rig.stack(5) == [CODE, CODE3, FLAG_RF | FLAG_IF | 2, STACK3, DATA3]
    assert rig.regs.rsp == STACK0 - 20
    assert rig.cpu.segment("cs")[0] == CODE0 and rig.cpu.segment("ss")[0] == DATA0
    assert not rig.regs.rflags & FLAG_IF


def test_trap_gate_keeps_if() -> None:
    rig = Rig("protected")
    rig.set_idt(UD, 0x8F)
    rig.regs.rflags = FLAG_IF | FLAG_NT | 2
    rig.run(UD2)
    assert rig.regs.rflags & FLAG_IF and not rig.regs.rflags & FLAG_NT
    assert rig.stack(3)[2] == FLAG_RF | FLAG_IF | FLAG_NT | 2


def test_16_bit_gate() -> None:
    rig = Rig("protected")
    rig.set_idt(GP, 0x86)
    rig.regs.rax = 0x1230
    rig.run("8ed8")
    assert rig.vector == GP
    assert rig.stack(4, 2) == [0x1230, CODE, CODE0, 2]


@pytest.mark.parametrize(("code", "vector"), [("cd40", 0x40), ("cc", BP)])
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_software_interrupt_needs_the_gates_dpl(mode: str, code: str, vector: int) -> None:
    rig = Rig(mode)
    rig.set_ring(3)
    rig.run(code)
    assert rig.vector == GP
    assert rig.stack(2)[0] == vector * 8 + 2, "EXT is clear: the program asked for it"
    assert rig.stack(2)[1] == CODE
    rig = Rig(mode)
    rig.set_ring(3)
    rig.set_idt(vector, 0xEE)
    rig.run(code)
    assert rig.vector == vector
    assert rig.stack(1) == [CODE + len(code) // 2]


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_gate_not_present_during_a_fault_sets_ext(mode: str) -> None:
    rig = Rig(mode)
    rig.set_idt(UD, 0x0E)
    rig.run(UD2)
    assert rig.vector == NP
    assert rig.stack(2) == [UD * 8 + 2 + 1, CODE]


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_gate_of_wrong_type(mode: str) -> None:
    rig = Rig(mode)
    rig.set_idt(0x40, 0x82)
    rig.run("cd40")
    assert rig.vector == GP and rig.stack(1) == [0x40 * 8 + 2]


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_idt_limit(mode: str) -> None:
    rig = Rig(mode)
    size = 16 if mode == "long" else 8
    rig.cpu.idtr = (IDT, 0x40 * size + size - 2)
    rig.run("cd40")
    assert rig.vector == GP and rig.stack(1) == [0x40 * 8 + 2]


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_handler_code_segment(mode: str) -> None:
    rig = Rig(mode)
    rig.set_idt(UD, 0x8E, selector=0)
    rig.run(UD2)
    assert rig.vector == GP and rig.stack(1) == [1], "null: #GP(EXT)"
    rig.set_idt(UD, 0x8E, selector=DATA0)
    rig.run(UD2)
    assert rig.vector == GP and rig.stack(1) == [DATA0 | 1]
    rig.set_idt(UD, 0x8E, selector=0xF8 * 2)
    rig.run(UD2)
    assert rig.vector == GP and rig.stack(1) == [0x1F0 | 1]


def test_inner_stack_that_is_no_stack() -> None:
    rig = Rig("protected")
    rig.memory.write(TSS + 8, struct.pack("<I", CODE0))
    rig.set_ring(3)
    assert rig.run(UD2) == Reason.SHUTDOWN, "#TS, then #DF, both without a stack"
    rig = Rig("protected")
    rig.memory.write(TSS + 8, struct.pack("<I", 0))
    rig.set_idt(TS, 0x8E)
    rig.set_ring(3)
    assert rig.run(UD2) == Reason.SHUTDOWN


# -- long mode --


def test_long_mode_frame_is_aligned() -> None:
    rig = Rig("long")
    rig.regs.rsp = STACK0 - 5
    rig.run(UD2)
    assert rig.vector == UD
    assert rig.regs.rsp == STACK0 - 16 - 40
    assert rig.stack(5) == [CODE, CODE0, FLAG_RF | 2, STACK0 - 5, DATA0]


def test_long_mode_inner_ring_has_a_null_ss() -> None:
    rig = Rig("long")
    rig.set_ring(3)
    rig.run(UD2)
    assert rig.stack(5) == [CODE, CODE3, FLAG_RF | 2, STACK3, DATA3]
    assert rig.cpu.segment("ss")[0] == 0
    assert rig.regs.rsp == STACK0 - 40


def test_ist() -> None:
    rig = Rig("long")
    rig.set_idt(UD, 0x8E, ist=1)
    rig.run(UD2)
    assert rig.regs.rsp == IST1 - 40
    assert rig.stack(5)[3] == STACK0 and rig.cpu.segment("ss")[0] == DATA0


def test_long_mode_handler_must_be_64_bit() -> None:
    rig = Rig("long")
    rig.set_gdt(0x50, bytes.fromhex("ffff0000009bcf00"))
    rig.set_idt(UD, 0x8E, selector=0x50)
    rig.run(UD2)
    assert rig.vector == GP and rig.stack(1) == [0x51]


def test_non_canonical_handler() -> None:
    rig = Rig("long")
    rig.set_idt(UD, 0x8E, offset=0x8000_0000_0000)
    rig.run(UD2)
    assert rig.vector == GP and rig.stack(1) == [1]


def test_fault_from_compatibility_mode_pushes_a_64_bit_frame() -> None:
    rig = Rig("long")
    rig.set_ring(3)
    rig.cpu.set_segment("cs", CODE3, 0, 0xFFFFFFFF, 0xC0FB)
    rig.run(UD2)
    assert rig.vector == UD
    assert rig.stack(5) == [CODE, CODE3, FLAG_RF | 2, STACK3, DATA3]


# -- faults inside delivery --


def test_page_fault_while_pushing_the_frame_leaves_everything_as_it_was() -> None:
    rig = Rig("long")
    rig.set_page(STACK0 - 0x1000, 0)
    rig.set_idt(PF, 0x8E, ist=1)
    rig.set_ring(3)
    rig.run("cd40")  # DPL 0: #GP(EXT=0), whose frame faults: a #PF inside a #GP is served
    assert rig.vector == PF
    assert rig.regs.cr2 == STACK0 - 8
    error, rip, cs, _flags, rsp, ss = rig.stack(6)
    assert (error, rip, cs, rsp, ss) == (2, CODE, CODE3, STACK3, DATA3)


def test_fault_inside_software_interrupt_is_served_first() -> None:
    rig = Rig("long")
    rig.set_idt(0x40, 0xEE)
    rig.set_idt(PF, 0x8E, ist=1)
    rig.set_page(STACK0 - 0x1000, 0)
    rig.set_ring(3)
    rig.run("cd40")
    assert rig.vector == PF
    assert rig.stack(2)[1] == CODE, "the INT is run again"


@pytest.mark.parametrize(
    ("first", "expected"),
    [("contributory", DF), ("page fault", DF), ("benign", NP)],
)
def test_double_fault_table(first: str, expected: int) -> None:
    """A first exception whose gate is not present: #NP (contributory) while delivering it."""
    rig = Rig("long")
    rig.set_page(0x100000, 0)
    for vector in (GP, PF, UD):
        rig.set_idt(vector, 0x0E)
    code = {
        "contributory": "b8ff010000 8ed8",  # mov ds, 1ffh: #GP
        "page fault": "a1 0000100000000000",  # mov eax, [100000h]
        "benign": UD2,
    }[first]
    rig.run(code)
    assert rig.vector == expected
    if expected == DF:
        assert rig.stack(1) == [0]


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_triple_fault(mode: str) -> None:
    rig = Rig(mode)
    rig.cpu.idtr = (IDT, 0)
    assert rig.run(UD2) == Reason.SHUTDOWN
    assert rig.go_on() == Reason.SHUTDOWN


def test_fault_inside_double_fault_is_shutdown() -> None:
    rig = Rig("long")
    rig.set_idt(GP, 0x0E)
    rig.set_idt(DF, 0x0E)
    assert rig.run("b8ff010000 8ed8") == Reason.SHUTDOWN


# -- single instructions --


@pytest.mark.parametrize(("of", "vector"), [(0x802, OF), (2, None)])
def test_into(of: int, vector: int | None) -> None:
    rig = Rig("protected")
    rig.regs.rflags = of
    rig.run("ce f4")
    assert rig.vector == vector
    if vector:
        assert rig.stack(1) == [CODE + 1]


@pytest.mark.parametrize(("index", "vector"), [(-3, None), (7, None), (8, BR), (-4, BR)])
def test_bound(index: int, vector: int | None) -> None:
    rig = Rig("protected")
    rig.memory.write(0x50000, struct.pack("<ii", -3, 7))
    rig.regs.rax, rig.regs.rbx = index & 0xFFFFFFFF, 0x50000
    rig.run("6203 f4")
    assert rig.vector == vector
    if vector:
        assert rig.stack(1) == [CODE], "a fault"


def test_int1_ignores_dpl() -> None:
    rig = Rig("protected")
    rig.set_ring(3)
    rig.run("f1")
    assert rig.vector == DB and rig.stack(1) == [CODE + 1]


def test_external_interrupt_and_shadow() -> None:
    rig = Rig("long")
    rig.load(bytes.fromhex("fb 40b001 f4"))  # sti; mov al, 1; hlt
    rig.cpu.inject(0x30)
    rig.go_on()
    assert rig.vector == 0x30
    assert rig.regs.rax & 0xFF == 1, "STI's shadow holds it back for one instruction"
    assert rig.stack(3) == [CODE + 4, CODE0, 0x202]


def test_nmi_is_blocked_until_iret() -> None:
    rig = Rig("long")
    rig.memory.write(HANDLERS + 16 * 2, bytes.fromhex("90 48cf"))  # nop; iretq
    rig.load(bytes.fromhex("90 f4"))
    rig.cpu.nmi()
    assert rig.go_on() == Reason.HLT
    assert rig.regs.rip == CODE + 2 and rig.regs.rsp == STACK0
    assert rig.cpu.counters()["interrupts"][2] == 1
