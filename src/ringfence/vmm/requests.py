"""What a VMM process answers to each request of its control socket. Any thread."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ringfence.api import messages
from ringfence.api.frames import PAYLOAD_LIMIT, Channel, Duplex, Frame
from ringfence.api.messages import Answer, Done, Refused, Request
from ringfence.api.spec import Spec
from ringfence.errors import AgentError
from ringfence.units import PAGE_BYTES
from ringfence.version import __version__
from ringfence.vmm.agent import Agent
from ringfence.vmm.machine import Machine
from ringfence.vmm.outcome import Kind, Outcome
from ringfence.vmm.scrollback import Scrollback

#: Counters of a report that all vCPUs have, added up.
_SUMS = ("instructions", "guest_ns", "idle_ns")


@dataclass
class MachineRequests:
    """Answers for one machine.

    Attributes:
        jail: what held of the jail.
    """

    spec: Spec
    machine: Machine
    scrollback: Scrollback
    jail: Mapping[str, Any] = field(default_factory=dict)
    started_ns: int = field(default_factory=time.time_ns)

    def answer(self, request: Request) -> Answer | Duplex:
        return _ANSWERS[type(request)](self, request)

    def ended(self) -> messages.Ended:
        """How the machine ended, once it has."""
        return describe(self.machine.outcome or Outcome(Kind.FAILED, detail="it has not ended"))

    def _hello(self, request: messages.Hello) -> Answer:
        return messages.About(self.spec.name, os.getpid(), __version__, self.machine.state)

    def _inspect(self, request: messages.Inspect) -> Answer:
        return messages.Details(
            name=self.spec.name,
            pid=os.getpid(),
            state=self.machine.state,
            started_ns=self.started_ns,
            config=self.spec.machine,
            jail=dict(self.jail),
            report=self.machine.report(),
            has_agent=self._has_agent(),
        )

    def _stats(self, request: messages.Stats) -> Answer:
        report = self.machine.report()
        sums = {name: sum(int(vcpu[name]) for vcpu in report["vcpus"]) for name in _SUMS}
        used = resource.getrusage(resource.RUSAGE_SELF)
        return messages.Usage(
            state=self.machine.state,
            uptime_ns=time.time_ns() - self.started_ns,
            cpu_ns=int((used.ru_utime + used.ru_stime) * 1e9),
            memory_bytes=_resident_bytes(),
            guest_memory_bytes=self.machine.config.memory_bytes,
            devices=report["devices"] | {name: report[name] for name in ("network", "agent") if report[name]},
            **sums,
        )

    def _pause(self, request: messages.Pause) -> Answer:
        self.machine.pause()
        return Done()

    def _resume(self, request: messages.Resume) -> Answer:
        was_paused = self.machine.state == "paused"
        self.machine.resume()
        if was_paused and self._has_agent():
            # whoever asked does not wait for a guest that takes its time, or never answers
            threading.Thread(target=self._tell_time, name="clock", daemon=True).start()
        return Done()

    def _tell_time(self) -> None:
        """What the guest's clock says of the day stood still while it was paused."""
        with contextlib.suppress(AgentError):
            self.machine.agent.set_clock()

    def _power_button(self, request: messages.PowerButton) -> Answer:
        self._refuse_when_paused()
        self.machine.press_power_button()
        if self._has_agent():
            # A guest that heeds the button may be gone before its agent answers.
            with contextlib.suppress(AgentError, TimeoutError):
                self.machine.agent.shut_down()
        return Done()

    def _kill(self, request: messages.Kill) -> Answer:
        if not 0 < request.signal < 65:
            raise Refused("bad-message", f"not a signal: {request.signal}")
        self.machine.stop(Outcome(Kind.KILLED, request.signal))
        return Done()

    def _console(self, request: messages.Console) -> Duplex:
        return ConsoleStream(self.scrollback, self.machine.console.send, request.replay)

    def _has_agent(self) -> bool:
        return self.machine.config.agent and self.machine.agent.is_ready

    def _agent(self) -> Agent:
        """Raises:
        Refused: nothing in the guest can answer.
        """
        self._refuse_when_paused()
        return self.machine.agent

    def _refuse_when_paused(self) -> None:
        if self.machine.state == "paused":
            raise Refused("state", f"{self.spec.name} is paused: resume it first")

    def _exec(self, request: messages.Exec) -> Duplex:
        return self._agent().open_exec(request)

    def _put(self, request: messages.Put) -> Duplex:
        return self._agent().open_put(request)

    def _get(self, request: messages.Get) -> Duplex:
        return self._agent().open_get(request)

    def _set_clock(self, request: messages.SetClock) -> Answer:
        self._agent().set_clock()
        return Done()

    def _set_identity(self, request: messages.SetIdentity) -> Answer:
        self._agent().set_identity(request.hostname, request.machine_id)
        return Done()


def describe(outcome: Outcome) -> messages.Ended:
    return messages.Ended(
        outcome.kind.value, outcome.value, outcome.exit_status, str(outcome), outcome.detail
    )


class ConsoleStream:
    """The serial console as a stream: one reader's place in the scrollback, and input."""

    def __init__(self, scrollback: Scrollback, send: Callable[[bytes], None], replay: int) -> None:
        self._reader = scrollback.reader(replay)
        self._send = send

    def send(self, channel: Channel, payload: bytes) -> None:
        if channel is Channel.STDIN:
            self._send(payload)

    def receive(self) -> Frame | None:
        data = self._reader.read(PAYLOAD_LIMIT)
        return None if data is None else (Channel.STDOUT, data)

    def close(self) -> None:
        self._reader.close()


_ANSWERS: dict[type[messages.Message], Callable[[MachineRequests, Any], Answer | Duplex]] = {
    messages.Hello: MachineRequests._hello,
    messages.Inspect: MachineRequests._inspect,
    messages.Stats: MachineRequests._stats,
    messages.Pause: MachineRequests._pause,
    messages.Resume: MachineRequests._resume,
    messages.PowerButton: MachineRequests._power_button,
    messages.Kill: MachineRequests._kill,
    messages.Console: MachineRequests._console,
    messages.Exec: MachineRequests._exec,
    messages.Put: MachineRequests._put,
    messages.Get: MachineRequests._get,
    messages.SetClock: MachineRequests._set_clock,
    messages.SetIdentity: MachineRequests._set_identity,
}


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_BYTES
