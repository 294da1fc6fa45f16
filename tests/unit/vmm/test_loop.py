"""The vCPU loop against a scripted vCPU: every exit meets its device, every wake-up arrives."""

from __future__ import annotations

import threading
import time

import pytest
from fake_vcpu import FakeBoard, FakeVcpu, Step, halt, io, reason

from ringfence.core.exits import Reason
from ringfence.devices.clock import Clock
from ringfence.metrics import VcpuMetrics
from ringfence.units import NS_PER_S
from ringfence.vmm.control import Control
from ringfence.vmm.loop import HYPERCALL_ENOSYS, VcpuLoop
from ringfence.vmm.outcome import Kind, Outcome


class Latch:
    """A device with one register; writing `stop` to it powers the machine off."""

    name = "latch"
    STOP = 0x5A

    def __init__(self, control: Control) -> None:
        self.control = control
        self.written: list[tuple[int, int, int]] = []

    def read(self, offset: int, size_bytes: int) -> int:
        return 0x11223344

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self.written.append((offset, size_bytes, value))
        if value == self.STOP:
            self.control.end(Outcome(Kind.POWER_OFF))

    def save(self) -> dict[str, object]:
        return {}

    def restore(self, record: dict[str, object]) -> None: ...

    def reset(self) -> None: ...


STOP = io(0x10, write=Latch.STOP)


class Rig:
    """One vCPU with its loop and a latch at port 0x10 and address 0x1000."""

    def __init__(self, *steps: Step) -> None:
        self.vcpu = FakeVcpu(steps)
        self.board = FakeBoard(self.vcpu)
        self.control = Control()
        self.latch = Latch(self.control)
        self.board.pio.map(0x10, 4, self.latch)
        self.board.mmio.map(0x1000, 8, self.latch)
        self.metrics = VcpuMetrics()
        self.loop = VcpuLoop(self.vcpu, self.board, self.control, self.metrics)
        self.control.begin([self.loop], self.board.clock)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)

    def start(self) -> Rig:
        self.thread.start()
        return self

    def finish(self, timeout: float = 5) -> Outcome:
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "the loop did not end"
        assert self.control.outcome is not None
        return self.control.outcome

    def run(self) -> Outcome:
        return self.start().finish()


def test_a_port_read_is_answered_in_the_exit_record() -> None:
    seen: list[int] = []

    def look(vcpu: FakeVcpu) -> Reason:
        seen.append(vcpu.exit.data)
        return STOP(vcpu)

    rig = Rig(io(0x10, size=2), look)
    assert rig.run().kind is Kind.POWER_OFF
    assert seen == [0x3344]


def test_a_port_nobody_claims_reads_all_ones() -> None:
    seen: list[int] = []

    def look(vcpu: FakeVcpu) -> Reason:
        seen.append(vcpu.exit.data)
        return STOP(vcpu)

    rig = Rig(io(0x99, size=4), look)
    rig.run()
    assert seen == [0xFFFF_FFFF]
    assert rig.board.pio.unclaimed


def test_memory_mapped_accesses_reach_the_other_bus() -> None:
    rig = Rig(reason(Reason.MMIO, address=0x1004, size=4, is_write=True, data=7), STOP)
    rig.run()
    assert rig.latch.written[0] == (4, 4, 7)


def test_exits_and_time_are_counted_by_reason() -> None:
    rig = Rig(io(0x10), io(0x11), reason(Reason.EOI, data=0x31), STOP)
    rig.run()
    assert rig.metrics.exits[Reason.IO] == 3
    assert rig.metrics.exits[Reason.EOI] == 1
    assert rig.metrics.vmm_ns > 0
    assert rig.board.ioapic.ended == [0x31]


def test_an_x87_error_becomes_the_coprocessors_interrupt() -> None:
    rig = Rig(reason(Reason.FERR), STOP)
    rig.run()
    assert rig.board.coprocessor.errors == 1


def test_an_unknown_hypercall_is_refused_as_kvm_does() -> None:
    rig = Rig(reason(Reason.HYPERCALL), STOP)
    rig.run()
    assert rig.vcpu.regs.rax == HYPERCALL_ENOSYS


@pytest.mark.parametrize(
    ("exit_reason", "kind"), [(Reason.SHUTDOWN, Kind.TRIPLE_FAULT), (Reason.FAIL, Kind.FAILED)]
)
def test_a_dead_processor_ends_the_run_with_its_registers(exit_reason: Reason, kind: Kind) -> None:
    outcome = Rig(reason(exit_reason)).run()
    assert outcome.kind is kind
    assert "rip 000000000000fff0" in outcome.detail
    assert "cli" in outcome.detail and "hlt" in outcome.detail


def test_halt_with_interrupts_off_is_the_end() -> None:
    assert Rig(halt(is_if=False)).run().kind is Kind.HALTED


def test_halt_with_interrupts_off_waits_where_an_nmi_may_come() -> None:
    rig = Rig(halt(is_if=False), STOP)
    rig.vcpu.lapic.may_nmi = True
    rig.start()
    rig.thread.join(0.05)
    assert rig.thread.is_alive(), "took the halt for the end"
    rig.control.post(lambda: None)
    assert rig.finish().kind is Kind.POWER_OFF


def test_an_alarm_ends_a_halt() -> None:
    rig = Rig(halt(), STOP)
    rung: list[int] = []
    alarm = rig.board.clock.alarm(lambda: rung.append(rig.board.clock.now_ns()))
    deadline = rig.board.clock.now_ns() + NS_PER_S // 20
    alarm.set(deadline)
    assert rig.run().kind is Kind.POWER_OFF
    assert rung and rung[0] >= deadline
    assert rig.metrics.idle_ns > NS_PER_S // 50


def test_the_local_timer_ends_a_halt() -> None:
    rig = Rig(halt(), STOP)
    rig.vcpu.lapic.deadline_ns = rig.board.clock.now_ns() + NS_PER_S // 20
    assert rig.run().kind is Kind.POWER_OFF


def test_posted_work_ends_a_halt() -> None:
    rig = Rig(halt(), STOP).start()
    rig.thread.join(0.05)
    assert rig.thread.is_alive(), "a halt with interrupts on must wait"
    threads: list[int | None] = []
    rig.control.post(lambda: threads.append(threading.get_ident()))
    rig.finish()
    assert threads == [rig.thread.ident]


def test_a_machine_is_idle_while_it_halts() -> None:
    seen: list[bool] = []

    def look(vcpu: FakeVcpu) -> Reason:
        seen.append(rig.control.is_idle)
        return STOP(vcpu)

    rig = Rig(halt(), look)
    assert not Control().is_idle and not rig.control.is_idle
    rig.start()
    deadline = time.monotonic() + 60
    while not rig.control.is_idle:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    rig.control.post(lambda: None)
    rig.finish()
    assert seen == [False] and not rig.control.is_idle


def test_posted_work_interrupts_a_spinning_guest() -> None:
    rig = Rig().start()
    rig.control.post(lambda: rig.control.end(Outcome(Kind.POWER_OFF)))
    assert rig.finish().kind is Kind.POWER_OFF


def test_the_next_alarm_is_the_engines_deadline() -> None:
    rig = Rig(io(0x10), STOP)
    rig.board.clock.alarm(lambda: None).set(1 << 62)
    rig.run()
    assert rig.vcpu.deadlines[0] == 1 << 62


def test_the_8259s_vector_is_injected_where_it_can_be_taken() -> None:
    rig = Rig(io(0x10), STOP)
    rig.board.pic.vectors.append(0x20)
    rig.run()
    assert rig.vcpu.injected == [0x20]


def test_otherwise_it_stays_in_the_8259_and_a_window_is_asked_for() -> None:
    def sti(vcpu: FakeVcpu) -> Reason:
        assert vcpu.request_window
        assert not vcpu.injected, "acknowledged too early"
        vcpu.request_window = False
        vcpu.is_interruptible = True
        return Reason.IRQ_WINDOW

    rig = Rig(sti, STOP)
    rig.vcpu.is_interruptible = False
    rig.board.pic.vectors.append(0x20)
    rig.run()
    assert rig.vcpu.injected == [0x20]


def test_a_masked_lint0_keeps_the_8259_out() -> None:
    rig = Rig(io(0x10), STOP)
    rig.vcpu.lapic.accepts_extint = False
    rig.board.pic.vectors.append(0x20)
    rig.run()
    assert not rig.vcpu.injected
    assert not rig.vcpu.request_window


def test_a_waiting_8259_interrupt_ends_a_halt_at_once() -> None:
    rig = Rig(halt(), STOP)

    def request(vcpu: FakeVcpu) -> Reason:
        rig.board.pic.vectors.append(0x21)
        return halt()(vcpu)

    rig.vcpu.steps[0] = request
    assert rig.run().kind is Kind.POWER_OFF
    assert rig.vcpu.injected == [0x21]


def test_pause_stops_guest_and_clock_until_resume() -> None:
    rig = Rig().start()
    time.sleep(0.02)
    rig.control.pause()
    runs, now = rig.vcpu.runs, rig.board.clock.now_ns()
    rig.control.post(lambda: None)
    time.sleep(0.05)
    assert (rig.vcpu.runs, rig.board.clock.now_ns()) == (runs, now)
    rig.control.resume()
    time.sleep(0.05)
    assert rig.vcpu.runs > runs
    assert now < rig.board.clock.now_ns() < now + NS_PER_S // 10 + NS_PER_S
    assert len(rig.vcpu.clock_offsets) == 2, "the TSC must learn the clock's new offset"
    assert rig.vcpu.clock_offsets[1] > rig.vcpu.clock_offsets[0]
    rig.control.end(Outcome(Kind.KILLED))
    rig.finish()


def test_a_paused_machine_can_be_ended() -> None:
    rig = Rig().start()
    rig.control.pause()
    rig.control.end(Outcome(Kind.KILLED))
    assert rig.finish().kind is Kind.KILLED


def test_a_machine_paused_before_its_start_does_not_run() -> None:
    rig = Rig(STOP)
    rig.control.pause()
    rig.start()
    time.sleep(0.03)
    assert rig.vcpu.runs == 0
    rig.control.resume()
    assert rig.finish().kind is Kind.POWER_OFF


def test_a_vcpus_own_thread_may_pause() -> None:
    rig = Rig().start()
    rig.control.post(rig.control.pause)
    deadline = time.monotonic() + 5
    while not rig.control.is_paused and time.monotonic() < deadline:
        time.sleep(0.01)
    rig.control.end(Outcome(Kind.KILLED))
    rig.finish()


def test_the_first_ending_counts_but_a_reset_gives_way() -> None:
    control = Rig().control
    control.end(Outcome(Kind.RESET))
    control.end(Outcome(Kind.KILLED))
    control.end(Outcome(Kind.POWER_OFF))
    assert control.outcome == Outcome(Kind.KILLED)
    control.begin([], Clock())
    assert control.outcome == Outcome(Kind.KILLED), "an ending asked for during a reboot was lost"
    assert control.is_interrupted
