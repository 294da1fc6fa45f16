"""The machine's life on a scripted board: start, reboot, ending, errors of the host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fake_vcpu import FakeBoard, FakeVcpu, Step, io, reason

from ringfence.core.exits import Reason
from ringfence.errors import ExpectTimeout, HostError, UserError
from ringfence.vmm import machine as module
from ringfence.vmm.machine import Machine
from ringfence.vmm.outcome import Kind, Outcome


class FakeUart:
    def __init__(self) -> None:
        self.output: Callable[[bytes], object] = lambda data: None
        self.fed = b""

    def feed(self, data: bytes) -> int:
        self.fed += data
        return len(data)


class FakeKeys:
    def __init__(self) -> None:
        self.typed = ""

    def type_text(self, text: str) -> int:
        self.typed += text
        return len(text)

    def press(self, *names: str) -> bool:
        return True


class ScriptedBoard(FakeBoard):
    """Boards in the order of `scripts`; the last one again when there is no more."""

    scripts: list[list[Step]] = []
    built: list[ScriptedBoard] = []

    def __init__(self, config: Any, post: Callable[[Callable[[], None]], None], network: None) -> None:
        steps = self.scripts[min(len(self.built), len(self.scripts) - 1)]
        vcpus = [FakeVcpu(steps)]
        super().__init__(*vcpus)
        self.on_shutdown: Callable[[str, int], object] = lambda kind, value: None
        self.uart = FakeUart()
        self.keyboard = FakeKeys()
        self.is_closed = False
        self.built.append(self)

    def close(self) -> None:
        self.is_closed = True


def ask(kind: str, value: int = 0) -> Step:
    """A step: the guest writes to the register that asks for this."""

    def step(vcpu: FakeVcpu) -> Reason:
        ScriptedBoard.built[-1].on_shutdown(kind, value)
        return Reason.INTERRUPTED

    return step


def say(text: bytes) -> Step:
    def step(vcpu: FakeVcpu) -> Reason:
        ScriptedBoard.built[-1].uart.output(text)
        return Reason.INTERRUPTED

    return step


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    def build(*scripts: list[Step], **options: Any) -> Machine:
        ScriptedBoard.scripts, ScriptedBoard.built = list(scripts), []
        return Machine("kernel", **options)

    monkeypatch.setattr(module, "Board", ScriptedBoard)
    return build


def test_power_off_is_the_outcome(build: Callable[..., Machine]) -> None:
    with build([io(0x99), ask("power_off")]) as vm:
        assert vm.state == "new" and vm.outcome is None
        vm.start()
        assert vm.wait(5) == Outcome(Kind.POWER_OFF)
        assert vm.state == "ended" and vm.outcome == Outcome(Kind.POWER_OFF)
        assert "ended: the guest powered off" in repr(vm)
        report = vm.report()
    assert report["outcome"]["kind"] == "power_off"
    assert report["vcpus"][0]["exits"]["IO"] == 1
    assert report["unclaimed"][0]["address"] == 0x99
    assert ScriptedBoard.built[0].is_closed


def test_the_debug_exits_value_is_kept(build: Callable[..., Machine]) -> None:
    with build([ask("debug_exit", 0x10)]) as vm:
        vm.start()
        assert vm.wait(5).exit_status == 0x21


def test_a_reset_is_a_new_board_with_the_same_console(build: Callable[..., Machine]) -> None:
    with build([say(b"one\n"), ask("reset")], [say(b"two\n"), ask("power_off")]) as vm:
        vm.start()
        assert vm.wait(5).kind is Kind.POWER_OFF
        assert vm.reboots == 1
        assert vm.console.log == "one\ntwo\n"
        first, second = ScriptedBoard.built
        assert first.is_closed and not second.is_closed
        assert vm.cpus is second.vcpus
        assert vm.report()["vcpus"][0]["instructions"] == 10 * (first.vcpus[0].runs + second.vcpus[0].runs)


def test_a_reset_ends_a_machine_that_may_not_reboot(build: Callable[..., Machine]) -> None:
    with build([ask("reset")], reboot=False) as vm:
        vm.start()
        assert vm.wait(5).kind is Kind.RESET
    assert len(ScriptedBoard.built) == 1


def test_a_guest_that_resets_for_ever_can_be_stopped(build: Callable[..., Machine]) -> None:
    with build([ask("reset")]) as vm:
        vm.start()
        vm.stop()
        assert vm.wait(5).kind is Kind.KILLED


def test_console_and_keyboard_reach_the_board(build: Callable[..., Machine]) -> None:
    with build([say(b"login:")]) as vm:
        vm.start()
        vm.console.expect("login:", 5)
        vm.console.send("root\n")
        vm.keyboard.type_text("keys")
        done = threading.Event()
        vm._control.post(done.set)
        assert done.wait(5)
        (board,) = ScriptedBoard.built
        assert (board.uart.fed, board.keyboard.typed) == (b"root\n", "keys")
        vm.pause()
        assert vm.state == "paused"
        vm.resume()
        assert vm.state == "running"
    assert vm.outcome == Outcome(Kind.KILLED)
    with pytest.raises(ExpectTimeout):
        vm.console.expect("more", 5)


def test_what_the_host_refuses_is_raised_where_one_waits(build: Callable[..., Machine]) -> None:
    def refuse(vcpu: FakeVcpu) -> Reason:
        raise HostError("the disk is full")

    with build([refuse]) as vm:
        vm.start()
        with pytest.raises(HostError, match="the disk is full"):
            vm.wait(5)
        assert vm.outcome is not None and vm.outcome.kind is Kind.FAILED
        assert "the disk is full" in vm.outcome.detail


def test_a_dead_processor_shows_its_registers(build: Callable[..., Machine]) -> None:
    with build([reason(Reason.SHUTDOWN)]) as vm:
        vm.start()
        assert "rip 000000000000fff0" in vm.wait(5).detail


def test_wait_gives_up(build: Callable[..., Machine]) -> None:
    with build([]) as vm:
        vm.start()
        with pytest.raises(TimeoutError):
            vm.wait(0.05)


def test_a_machine_that_never_started_closes(build: Callable[..., Machine]) -> None:
    with build([]):
        pass
    assert ScriptedBoard.built[0].is_closed


def test_a_bad_configuration_is_refused_at_once() -> None:
    with pytest.raises(UserError):
        Machine("kernel", memory="none")
