"""Segment registers: checks on loading, hidden parts, LAR to ARPL. SDM vol. 3, chapters 3 and 5."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, CODE0, CODE3, DATA0, DATA3, DB, FREE, LDT, LDT_SEL, TSS_SEL, G, Rig, descriptor

NP, SS, GP, UD = 11, 12, 13, 6
NULL = 0x10000
MOV_DS, MOV_SS, MOV_ES = "8ed8 f4", "8ed0 f4", "8ec0 f4"


def load(rig: Rig, code: str, selector: int) -> tuple[int | None, int | None]:
    """Vector and error code of loading ``selector`` from AX."""
    rig.regs.rax = selector
    rig.run(code)
    return (None, None) if rig.vector is None else (rig.vector, rig.stack(1)[0])


def test_a_load_fills_the_hidden_part_and_marks_the_descriptor() -> None:
    rig = Rig("protected")
    rig.set_gdt(FREE, descriptor(0x12345678, 0x1234, 0x92 | G | DB))
    assert load(rig, MOV_ES, FREE) == (None, None)
    assert rig.cpu.segment("es") == (FREE, 0x12345678, 0x1234FFF, 0x93 | G | DB)
    assert rig.memory.read(0x1000 + FREE + 5, 1) == b"\x93"


@pytest.mark.parametrize(
    ("code", "ring", "attr", "rpl", "expected"),
    [
        (MOV_DS, 0, 0x92, 0, None),
        (MOV_DS, 0, 0x92, 3, (GP, 0)),  # RPL > DPL
        (MOV_DS, 3, 0x92, 3, (GP, 0)),  # CPL > DPL
        (MOV_DS, 3, 0xF2, 0, None),
        (MOV_DS, 0, 0x98, 0, (GP, 0)),  # code that can't be read
        (MOV_DS, 0, 0x9A, 0, None),
        (MOV_DS, 3, 0x9E, 3, None),  # conforming: DPL does not count
        (MOV_DS, 0, 0x12, 0, (NP, 0)),
        (MOV_DS, 0, 0x89, 0, (GP, 0)),  # a TSS
        (MOV_SS, 0, 0x92, 0, None),
        (MOV_SS, 0, 0x90, 0, (GP, 0)),  # not writable
        (MOV_SS, 0, 0x92, 3, (GP, 0)),  # RPL != CPL
        (MOV_SS, 0, 0xF2, 0, (GP, 0)),  # DPL != CPL
        (MOV_SS, 0, 0x9A, 0, (GP, 0)),
        (MOV_SS, 0, 0x12, 0, (SS, 0)),
        (MOV_SS, 3, 0xF2, 3, None),
    ],
)
def test_checks(code: str, ring: int, attr: int, rpl: int, expected: tuple[int, int] | None) -> None:
    rig = Rig("protected")
    rig.set_gdt(FREE, descriptor(0, 0xFFFFF, attr | G | DB))
    if ring == 3:
        rig.set_ring(3)
        code = code.replace("f4", "cd40")
        rig.set_idt(0x40, 0xEE)
    vector, error = load(rig, code, FREE | rpl)
    if expected:
        assert (vector, error) == (expected[0], FREE)
    else:
        assert vector in (None, 0x40)


def test_null_selectors() -> None:
    rig = Rig("protected")
    assert load(rig, MOV_DS, 3) == (None, None), "allowed: using it is what faults"
    assert rig.cpu.segment("ds") == (3, 0, 0, NULL)
    rig.run("a100000500 f4")
    assert rig.vector == GP
    assert load(Rig("protected"), MOV_SS, 0) == (GP, 0)
    assert load(Rig("long"), MOV_SS, 0) == (None, None), "64-bit code, level 0"
    assert load(Rig("long"), MOV_SS, 3) == (GP, 0)


def test_limits_of_the_tables() -> None:
    rig = Rig("protected")
    rig.cpu.gdtr = (0x1000, FREE + 6)
    rig.set_gdt(FREE, descriptor(0, 0xFFFFF, 0x92 | G | DB))
    assert load(rig, MOV_DS, FREE) == (GP, FREE)
    rig.cpu.gdtr = (0x1000, FREE + 7)
    assert load(rig, MOV_DS, FREE) == (None, None)
    assert load(rig, MOV_DS, 0xC) == (GP, 0xC), "there is no LDT"


def test_ldt() -> None:
    rig = Rig("protected")
    rig.set_gdt(LDT_SEL, descriptor(LDT, 0xF, 0x82))
    rig.memory.write(LDT + 8, descriptor(0x777000, 0xFFF, 0x92))
    rig.regs.rax, rig.regs.rbx = LDT_SEL, 0xC
    rig.run("0f00d0 8edb f4")
    assert rig.vector is None
    assert rig.cpu.segment("ds") == (0xC, 0x777000, 0xFFF, 0x93)
    assert load(rig, MOV_DS, 0x14) == (GP, 0x14)
    rig.regs.rax = 0
    rig.run("0f00d0 f4")
    assert rig.cpu.segment("ldtr")[3] == NULL
    assert load(rig, MOV_DS, 0xC) == (GP, 0xC)


@pytest.mark.parametrize(
    ("attr", "selector", "expected"),
    [
        (0x82, LDT_SEL, None),
        (0x02, LDT_SEL, NP),
        (0x89, LDT_SEL, GP),
        (0x92, LDT_SEL, GP),
        (0x82, LDT_SEL | 4, GP),
    ],
)
def test_lldt_checks(attr: int, selector: int, expected: int | None) -> None:
    rig = Rig("protected")
    rig.set_gdt(LDT_SEL, descriptor(LDT, 0xF, attr))
    rig.regs.rax = selector
    rig.run("0f00d0 f4")
    assert rig.vector == expected


def test_ltr_marks_busy() -> None:
    rig = Rig("protected")
    rig.set_gdt(FREE, descriptor(0x6000, 0x67, 0x89))
    rig.regs.rax = FREE
    rig.run("0f00d8 f4")
    assert rig.cpu.segment("tr") == (FREE, 0x6000, 0x67, 0x8B)
    assert rig.memory.read(0x1000 + FREE + 5, 1) == b"\x8b"
    rig.run("0f00d8 f4")
    assert rig.vector == GP and rig.stack(1) == [FREE], "busy"


def test_long_mode_system_descriptors_have_16_bytes() -> None:
    rig = Rig("long")
    rig.set_gdt(FREE, descriptor(0x6000, 0x67, 0x89) + struct.pack("<II", 0xFFFF8000, 0))
    rig.regs.rax = FREE
    rig.run("0f00d8 f4")
    assert rig.cpu.segment("tr")[1] == 0xFFFF800000006000
    rig.set_gdt(FREE, descriptor(0x6000, 0x67, 0x89) + struct.pack("<II", 0xFFFF8000, 0x100))
    rig.run("0f00d8 f4")
    assert rig.vector == GP, "a type in the upper half"
    rig.set_gdt(FREE, descriptor(0x6000, 0x67, 0x81) + bytes(8))
    rig.run("0f00d8 f4")
    assert rig.vector == GP, "no 16-bit TSS in long mode"


def test_real_mode_changes_only_the_base() -> None:
    rig = Rig("real")
    rig.cpu.set_segment("ds", 0, 0, 0xFFFFFFFF, 0xC093)
    load(rig, MOV_DS, 0x1234)
    assert rig.cpu.segment("ds") == (0x1234, 0x12340, 0xFFFFFFFF, 0xC093)


def test_mov_cs_is_undefined() -> None:
    assert load(Rig("real"), "8ec8 f4", 0)[0] == UD
    assert load(Rig("real"), "8ef8 f4", 0)[0] == UD


def test_push_and_pop() -> None:
    rig = Rig("protected")
    rig.memory.write(0x20000 - 4, b"\xff" * 4)
    rig.run("1e f4")
    assert rig.regs.rsp == 0x20000 - 4
    assert rig.memory.read(rig.regs.rsp, 4) == struct.pack("<HH", DATA0, 0xFFFF), "16 bits are written"
    rig.run("07 f4")
    assert rig.regs.rsp == 0x20000 and rig.cpu.segment("es")[0] == DATA0
    rig.run("6a00 17 f4")
    assert rig.vector == GP and rig.stack(2)[1] == CODE + 2, "POP SS of a null selector"
    assert rig.regs.rsp == 0x20000 - 4 - 16, "nothing was popped"


def test_lss_loads_both_halves_or_none() -> None:
    rig = Rig("protected")
    rig.memory.write(0x50000, struct.pack("<IH", 0x30000, DATA0))
    rig.run("0fb22500000500 f4")
    assert rig.regs.rsp == 0x30000 and rig.cpu.segment("ss")[0] == DATA0
    rig.memory.write(0x50000, struct.pack("<IH", 0x38000, CODE0))
    rig.run("0fb22500000500 f4")
    assert rig.vector == GP and rig.regs.rsp == 0x30000 - 16


def test_mov_from_sreg() -> None:
    rig = Rig("long")
    rig.regs.rax = 0xFFFF_FFFF_FFFF_FFFF
    rig.run("8cd8 f4")
    assert rig.regs.rax == DATA0
    rig.regs.rax = 0xFFFF_FFFF_FFFF_FFFF
    rig.run("668cd8 f4")
    assert rig.regs.rax == 0xFFFF_FFFF_FFFF_0000 | DATA0


def query(rig: Rig, code: str, selector: int) -> int | None:
    """LAR or LSL of AX into ECX; None where ZF says no."""
    rig.regs.rax, rig.regs.rcx, rig.regs.rflags = selector, 0x55555555, 2
    rig.run(code)
    assert rig.vector is None
    return rig.regs.rcx if rig.regs.rflags & 0x40 else None


LAR, LSL = "0f02c8 f4", "0f03c8 f4"


def test_lar_and_lsl() -> None:
    rig = Rig("protected")
    assert query(rig, LAR, CODE0) == 0xC09B00
    assert query(rig, LSL, CODE0) == 0xFFFFFFFF
    assert query(rig, LSL, TSS_SEL) == 0x2FFF
    assert query(rig, LAR, TSS_SEL) == 0x008B00
    assert query(rig, LAR, CODE0 | 3) is None, "RPL > DPL"
    assert query(rig, LAR, 0) is None and rig.regs.rcx == 0x55555555
    assert query(rig, LAR, 0x1F8) is None
    rig.set_gdt(FREE, descriptor(0, 0, 0x8C))
    assert query(rig, LAR, FREE) == 0x8C00 and query(rig, LSL, FREE) is None, "a call gate has no limit"
    rig.set_gdt(FREE, descriptor(0, 0, 0x8E))
    assert query(rig, LAR, FREE) is None


def test_lar_in_long_mode_knows_fewer_types() -> None:
    rig = Rig("long")
    rig.set_gdt(FREE, descriptor(0, 0x10, 0x81))
    assert query(rig, LAR, FREE) is None
    assert query(Rig("long"), LAR, TSS_SEL) == 0x8B00


@pytest.mark.parametrize(
    ("selector", "reads", "writes"),
    [(DATA0, True, True), (CODE0, True, False), (DATA0 | 3, False, False), (DATA3, True, True),
     (TSS_SEL, False, False), (0, False, False), (CODE3, True, False)],
)  # fmt: skip
def test_verr_and_verw(selector: int, reads: bool, writes: bool) -> None:
    rig = Rig("protected")
    rig.regs.rax = selector
    rig.run("0f00e0 f4")
    assert bool(rig.regs.rflags & 0x40) == reads
    rig.run("0f00e8 f4")
    assert bool(rig.regs.rflags & 0x40) == writes


@pytest.mark.parametrize(("target", "source", "result", "zf"), [(8, 3, 0xB, True), (0xB, 1, 0xB, False)])
def test_arpl(target: int, source: int, result: int, zf: bool) -> None:
    rig = Rig("protected")
    rig.regs.rax, rig.regs.rcx = target, source
    rig.run("63c8 f4")
    assert rig.regs.rax == result and bool(rig.regs.rflags & 0x40) == zf


@pytest.mark.parametrize(("target", "vector"), [(0xB, None), (8, GP)])
def test_arpl_checks_for_writing_only_what_it_writes(target: int, vector: int | None) -> None:
    rig = Rig("protected")
    rig.cpu.set_segment("ds", DATA0, 0, 0xFFFFFFFF, 0x91 | G | DB)
    rig.memory.write(0x50000, target.to_bytes(2, "little"))
    rig.regs.rcx = 3
    rig.run("630d00000500 f4")
    assert rig.vector == vector
    assert rig.memory.read(0x50000, 2) == target.to_bytes(2, "little")


@pytest.mark.parametrize(
    "code", ["0f02c8", "0f03c8", "0f00e0", "0f00e8", "63c8", "0f00c0", "0f00c8", "0f00d0"]
)
def test_undefined_outside_protected_mode(code: str) -> None:
    rig = Rig("real")
    rig.run(code + "f4")
    assert rig.vector == UD
