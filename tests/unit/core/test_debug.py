"""Breakpoints, single step, DR6 and DR7. SDM vol. 3, chapter 18."""

from __future__ import annotations

import pytest
from rig import CODE, STACK0, Rig

DB, UD, GP = 1, 6, 13
BS, BD, TF, RF = 0x4000, 0x2000, 0x100, 0x10000


@pytest.fixture
def rig() -> Rig:
    return Rig("long")


def test_single_step(rig: Rig) -> None:
    rig.regs.rflags = TF | 2
    rig.run("90 90 f4")
    assert rig.vector == DB and rig.regs.dr6 & BS
    assert rig.stack(3)[0] == CODE + 1 and rig.stack(3)[2] == TF | 2, "a trap: RF clear"
    assert not rig.regs.rflags & TF


def test_popf_that_sets_tf_traps_after_the_next_instruction(rig: Rig) -> None:
    rig.run("6802010000 9d 90 90 f4")
    assert rig.vector == DB and rig.stack(1) == [CODE + 7]


def test_popf_that_clears_tf_still_traps(rig: Rig) -> None:
    rig.regs.rsp -= 8
    rig.memory.write(rig.regs.rsp, (2).to_bytes(8, "little"))
    rig.regs.rflags = TF | 2
    rig.run("9d 90 f4")
    assert rig.vector == DB and rig.stack(1) == [CODE + 1]


def test_int_n_is_not_stepped_into(rig: Rig) -> None:
    rig.regs.rflags = TF | 2
    rig.run("cd40")
    assert rig.vector == 0x40 and not rig.regs.dr6 & BS
    assert rig.stack(3)[2] == TF | 2


def test_mov_ss_holds_the_trap_back() -> None:
    rig = Rig("protected")
    rig.regs.rax = rig.cpu.segment("ss")[0]
    rig.regs.rflags = TF | 2
    rig.run("8ed0 90 90 f4")
    assert rig.vector == DB and rig.stack(1) == [CODE + 3]


def test_int1_takes_a_trap_along_that_a_load_of_ss_held_back() -> None:
    rig = Rig("protected")
    rig.memory.write(0x50000, rig.cpu.segment("ss")[0].to_bytes(2, "little"))
    rig.regs.dr0, rig.regs.dr7 = 0x50000, 0x000F0402
    rig.run("8e1500000500 f1 90 f4")  # mov ss, [0x50000]; int1
    assert rig.vector == DB and rig.stack(1) == [CODE + 7] and rig.regs.dr6 & 0xF == 1
    assert rig.cpu.counters()["exceptions"] == {DB: 1}


@pytest.mark.parametrize(("model", "breaks"), [("core2duo", False), ("opteron", True)])
def test_mov_ss_holds_a_breakpoint_back_on_intels_only(model: str, breaks: bool) -> None:
    rig = Rig("protected", model)
    rig.regs.rax = rig.cpu.segment("ss")[0]
    rig.regs.dr0, rig.regs.dr7 = CODE + 2, 0x402
    rig.run("8ed0 90 f4")
    assert (rig.vector == DB) == breaks


def test_a_fault_under_tf_is_that_fault(rig: Rig) -> None:
    rig.regs.rflags = TF | 2
    rig.run("0f0b")
    assert rig.vector == UD and not rig.regs.dr6 & BS


def test_instruction_breakpoint_is_a_fault(rig: Rig) -> None:
    rig.regs.dr0, rig.regs.dr7 = CODE + 1, 0x402 & ~2 | 1
    rig.run("90 ffc0 f4")
    assert rig.vector == DB and rig.regs.dr6 & 0xF == 1
    assert rig.stack(1) == [CODE + 1] and rig.regs.rax == 0


def test_rf_steps_over_the_breakpoint(rig: Rig) -> None:
    """IRET with RF set: the instruction runs once; the next time round it breaks again."""
    rig.regs.dr1, rig.regs.dr7 = CODE + 2, 0x404
    for value in reversed((CODE + 2, 8, RF | 2, STACK0, 0)):
        rig.regs.rsp -= 8
        rig.memory.write(rig.regs.rsp, value.to_bytes(8, "little"))
    rig.run("48cf ffc0 ebfc")  # iretq; inc eax; jmp to the inc
    assert rig.vector == DB and rig.regs.rax == 1 and rig.regs.dr6 & 0xF == 2
    assert not rig.stack(3)[2] & RF, "the handler sets it itself"


@pytest.mark.parametrize(
    ("kind", "length", "code", "hit"),
    [
        (1, 0, "8803", True), (1, 0, "8a03", False), (3, 0, "8a03", True), (1, 3, "8803", True),
        (1, 0, "884301", False), (1, 3, "884303", True), (1, 3, "884304", False), (3, 2, "8a4307", True),
        (1, 1, "8943ff", True),
    ],
)  # fmt: skip
def test_data_breakpoints(rig: Rig, kind: int, length: int, code: str, hit: bool) -> None:
    rig.regs.rbx = rig.regs.dr2 = 0x50000
    rig.regs.dr7 = 0x400 | 1 << 5 | (kind | length << 2) << 24
    rig.run(code + "90 f4")
    assert rig.vector == (DB if hit else None)
    if hit:
        assert rig.regs.dr6 & 0xF == 4
        assert rig.stack(1) == [CODE + len(code) // 2], "a trap, after the access"


def test_general_detect(rig: Rig) -> None:
    rig.regs.dr7 = 0x2400
    rig.run("0f21c0 f4")
    assert rig.vector == DB and rig.regs.dr6 & BD and rig.stack(1) == [CODE]
    assert not rig.regs.dr7 & 0x2000, "cleared for the handler"


def test_dr4_and_dr5(rig: Rig) -> None:
    rig.run("0f21e0 0f21e9 f4")
    assert (rig.regs.rax, rig.regs.rcx) == (0xFFFF0FF0, 0x400)
    rig.regs.cr4 = 0x28
    rig.run("0f21e0")
    assert rig.vector == UD


def test_reserved_bits(rig: Rig) -> None:
    rig.regs.rax = 0xFFFFFFFF & ~0x2000 & ~0xFF
    rig.run("0f23f8 0f21f9 f4")
    assert rig.regs.rcx == 0xFFFF0700
    rig.regs.rax = 0
    rig.run("0f23f0 0f23f8 0f21f1 f4")
    assert rig.regs.rcx == 0xFFFF0FF0 and rig.regs.dr7 == 0x400
    rig.regs.rax = 1 << 32
    rig.run("0f23f8")
    assert rig.vector == GP
