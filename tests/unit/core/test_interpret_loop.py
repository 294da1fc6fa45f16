"""The run loop seen from outside: kicks, deadlines, debugger steps, windows, interrupts, budgets."""

from __future__ import annotations

import threading
import time

import pytest
from rig import CODE, HANDLERS, STACK0, Rig

from ringfence.core.exits import Reason

HLT = "f4"
FOREVER = "ebfe"  # jmp $
IF = 0x200
TIMER_VECTOR = 0x40


@pytest.fixture(params=["long", "protected", "real"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


@pytest.mark.parametrize("code", [FOREVER, "f3aa" + FOREVER, "90e2fd" + FOREVER])
def test_a_kick_ends_a_run_without_exits(rig: Rig, code: str) -> None:
    rig.regs.rdi, rig.regs.rcx = 0x10000 if rig.mode != "real" else 0xA000, 0x1000
    timer = threading.Timer(0.05, rig.cpu.kick)
    timer.start()
    assert rig.run(code) == Reason.INTERRUPTED
    timer.join()


def test_a_kick_before_the_run_is_not_lost(rig: Rig) -> None:
    rig.cpu.kick()
    assert rig.run(FOREVER) == Reason.INTERRUPTED


def test_a_long_rep_can_be_interrupted_and_goes_on() -> None:
    rig = Rig("long")
    rig.regs.rdi, rig.regs.rcx, rig.regs.rax = 0x100000, 0x40000, 0x5A
    rig.cpu.kick()
    reasons = [rig.run("f3aa" + HLT)]
    while reasons[-1] == Reason.INTERRUPTED:
        reasons.append(rig.go_on())
    assert rig.regs.rcx == 0 and rig.regs.rdi == 0x140000
    assert rig.memory.read(0x100000, 0x40000) == b"\x5a" * 0x40000


def test_a_deadline_of_guest_time_ends_a_run(rig: Rig) -> None:
    rig.cpu.set_clock_offset_ns(time.monotonic_ns())
    rig.cpu.set_deadline_ns(30_000_000)
    begin = time.monotonic_ns()
    assert rig.run(FOREVER) == Reason.INTERRUPTED
    assert 25_000_000 < time.monotonic_ns() - begin < 2_000_000_000


def test_debug_steps_count_instructions(rig: Rig) -> None:
    rig.load(bytes.fromhex("90" * 10 + HLT))
    for at in range(1, 4):
        rig.cpu.set_debug_steps(1)
        assert rig.go_on() == Reason.DEBUG and rig.regs.rip == CODE + at
    rig.cpu.set_debug_steps(5)
    assert rig.go_on() == Reason.DEBUG and rig.regs.rip == CODE + 8
    rig.cpu.set_debug_steps(0)
    assert rig.go_on() == Reason.HLT


def test_halted_stays_halted_until_an_interrupt(rig: Rig) -> None:
    rig.regs.rflags |= IF
    assert rig.run(HLT + "b001" + HLT) == Reason.HLT
    assert rig.go_on() == Reason.HLT and rig.regs.rip == CODE + 1
    rig.cpu.inject(TIMER_VECTOR)
    assert rig.go_on() == Reason.HLT and rig.vector == TIMER_VECTOR


def test_an_injected_interrupt_waits_for_if(rig: Rig) -> None:
    rig.load(bytes.fromhex("9090fb9090" + HLT))
    assert not rig.cpu.is_interruptible
    rig.cpu.request_window = True
    assert rig.go_on() == Reason.IRQ_WINDOW
    assert rig.regs.rip == CODE + 4  # STI's shadow covers one instruction
    assert rig.cpu.is_interruptible and not rig.cpu.request_window
    rig.cpu.inject(TIMER_VECTOR)
    assert rig.go_on() == Reason.HLT and rig.vector == TIMER_VECTOR
    size = {"real": 2, "protected": 4, "long": 8}[rig.mode]
    assert rig.stack(1, size)[0] == CODE + 4


@pytest.mark.parametrize("load", ["8ed0", "17"])  # mov ss, ax; pop ss
def test_loading_ss_holds_interrupts_back(load: str) -> None:
    rig = Rig("protected")
    rig.regs.rflags |= IF
    rig.regs.rax = 0x10
    rig.load(bytes.fromhex("6a10" + load + "40" + "9090" + HLT))  # push 0x10; ...; inc eax
    rig.cpu.set_debug_steps(2)
    assert rig.go_on() == Reason.DEBUG
    rig.cpu.set_debug_steps(0)
    rig.cpu.nmi()
    assert rig.go_on() == Reason.HLT and rig.vector == 2
    assert rig.stack(1)[0] == CODE + 2 + len(load) // 2 + 1


def test_sti_before_hlt_loses_no_interrupt(rig: Rig) -> None:
    """An interrupt that is pending at STI; HLT is delivered at HLT, after it."""
    rig.regs.rflags &= ~IF
    rig.load(bytes.fromhex("fb" + HLT + HLT))
    rig.cpu.inject(TIMER_VECTOR)
    assert rig.go_on() == Reason.HLT and rig.vector == TIMER_VECTOR
    size = {"real": 2, "protected": 4, "long": 8}[rig.mode]
    assert rig.stack(1, size)[0] == CODE + 2


def test_nmi_wakes_from_hlt_with_if_clear(rig: Rig) -> None:
    assert rig.run(HLT) == Reason.HLT
    rig.cpu.nmi()
    assert rig.go_on() == Reason.HLT and rig.vector == 2


def test_instructions_are_counted(rig: Rig) -> None:
    before = rig.cpu.counters()["instructions"]
    rig.regs.rcx = 1000
    rig.run("90" * 3 + "e2fb" + HLT)  # loop: three NOPs a turn
    assert rig.cpu.counters()["instructions"] - before == 4 * 1000 + 1


def test_exceptions_are_counted(rig: Rig) -> None:
    rig.run("0f0b")
    assert rig.vector == 6 and rig.cpu.counters()["exceptions"][6] == 1


def test_single_step_trap_after_each_instruction(rig: Rig) -> None:
    """A handler that returns four times: TF stays set in the frame, so every instruction traps."""
    handler = "ffc583fd05740248cff4" if rig.mode == "long" else "4583fd057401cff4"
    rig.memory.write(HANDLERS + 16, bytes.fromhex(handler))  # inc ebp; cmp ebp, 5; je; iret; hlt
    rig.regs.rbp = 0
    rig.load(bytes.fromhex("90" * 8))
    rig.regs.rflags |= 0x100
    assert rig.go_on() == Reason.HLT
    assert rig.regs.rbp == 5
    size = {"real": 2, "protected": 4, "long": 8}[rig.mode]
    assert rig.stack(1, size)[0] == CODE + 5


def test_save_and_restore_in_the_middle() -> None:
    """A loop cut in pieces over two processors ends as in one."""
    whole, first, second = Rig("long"), Rig("long"), Rig("long")
    code = "4801c8" + "480fafc8" + "48ffc9" + "fecb75f3" + HLT  # arithmetic on rax, rcx, counted by bl
    for rig in (whole, first):
        rig.regs.rax, rig.regs.rcx, rig.regs.rbx = 3, 5, 50
    whole.run(code)
    first.load(bytes.fromhex(code))
    second.load(bytes.fromhex(code))
    rigs = [first, second]
    reason = Reason.DEBUG
    while reason == Reason.DEBUG:
        rigs[0].cpu.set_debug_steps(7)
        reason = rigs[0].go_on()
        rigs[1].cpu.restore(rigs[0].cpu.save())
        rigs.reverse()
    assert (rigs[0].regs.rax, rigs[0].regs.rcx) == (whole.regs.rax, whole.regs.rcx)
    assert rigs[0].regs.rip == whole.regs.rip and rigs[0].regs.rsp == STACK0


def test_a_state_of_another_length_is_refused(rig: Rig) -> None:
    with pytest.raises(ValueError, match="state"):
        rig.cpu.restore(rig.cpu.save()[:-1])
