"""What a user asks of the guest's agent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ringfence.agent import wire
from ringfence.agent.wire import Type
from ringfence.api.frames import Duplex
from ringfence.api.messages import Exec, Get, Put
from ringfence.errors import AgentError, UserError
from ringfence.vmm.agent.connection import NO_AGENT, Connection, Port
from ringfence.vmm.agent.files import GuestFiles
from ringfence.vmm.agent.get import GetFrames
from ringfence.vmm.agent.patience import READY_SECONDS, wait_patiently
from ringfence.vmm.agent.process import ExecFrames, Process
from ringfence.vmm.agent.put import PutFrames
from ringfence.vmm.agent.stream import Stream

ENTROPY_BYTES = 256
POWER_OFF, REBOOT = 0, 1


@dataclass(frozen=True, slots=True)
class CompletedProcess:
    """A program that has run: what `subprocess.CompletedProcess` is for one of the host."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


class Agent:
    """The agent in a machine's guest. Any thread may use it; ``post`` runs work on the vCPU's.
    A machine without a port for one has none, whatever its guest runs.

    Each call waits for an agent to answer as long as the guest may still be booting (`patience`), so it may
    come right after `Machine.start`. ``is_idle`` says whether the guest has nothing to do.
    """

    def __init__(
        self,
        post: Callable[[Callable[[], None]], None],
        has_port: bool = True,
        is_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection = Connection(post, has_port)
        self._is_idle = is_idle
        self._files = GuestFiles(self._connection)

    # -- for users --

    @property
    def is_ready(self) -> bool:
        """An agent has answered."""
        return self._connection.is_ready

    def wait_ready(self, timeout: float | None = READY_SECONDS) -> None:
        """Wait so long, whatever the guest does.

        Raises:
            AgentError: none has answered in time.
        """
        self._connection.wait_ready(timeout)

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bool = True,
        tty: bool = False,
        size: tuple[int, int] = (24, 80),
    ) -> Process:
        """Start a program in the guest.

        Args:
            argv: the program, found by PATH, and its arguments.
            env: its environment; PATH and HOME are added where they are missing.
            cwd: absolute; "" for the user's home.
            user: a name or a number, and ``:group``; "" for root.
            stdin: False: it reads from /dev/null.
            tty: with a terminal as its three streams.
            size: the terminal's rows and columns.

        Raises:
            UserError: nothing to run, or a NUL in it.
            AgentError: there is no agent.
        """
        return Process(self._open_exec(Exec(tuple(argv), dict(env or {}), cwd, tty, size, user, stdin)))

    def exec(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        timeout: float | None = None,
    ) -> CompletedProcess:
        """Run a program in the guest to its end.

        Raises:
            TimeoutError: it still ran after so many seconds, and was killed.
            UserError, AgentError: as `start`.
        """
        process = self.start(argv, env=env, cwd=cwd, user=user, stdin=bool(input))
        output, errors = process.communicate(input, timeout)
        return CompletedProcess(tuple(argv), process.wait(), output, errors)

    def set_clock(self, now_ns: int | None = None) -> None:
        """Set the guest's clock, to the host's unless ``now_ns`` says otherwise."""
        self._await()
        now_ns = time.time_ns() if now_ns is None else now_ns
        self._files.ask(Type.CLOCK, wire.clock_request(now_ns), "the clock")

    def set_identity(self, hostname: str, machine_id: str = "") -> None:
        """Make it another machine than the one that it is a copy of: its name, its id, its randomness."""
        self._await()
        self._files.ask(Type.ENTROPY, os.urandom(ENTROPY_BYTES), "randomness")
        self._files.ask(Type.HOSTNAME, wire.path(hostname), hostname)
        if machine_id:
            self._files.write("/etc/machine-id", 0o444, machine_id.encode() + b"\n")

    def shut_down(self, *, reboot: bool = False) -> None:
        """Ask the guest's process 1 to end the system in order; returns before it has."""
        self._await()
        self._files.ask(Type.SHUTDOWN, bytes([REBOOT if reboot else POWER_OFF]), "shutdown")

    # -- as frames: for a control socket, and copies (host/copy.py) --

    def open_exec(self, request: Exec) -> Duplex:
        """A program, as `start`."""
        return ExecFrames(self._open_exec(request))

    def open_put(self, request: Put) -> Duplex:
        """A copy into the guest.

        Raises:
            AgentError: there is no agent.
        """
        self._await()
        return PutFrames(self._files, request)

    def open_get(self, request: Get) -> Duplex:
        """A copy out of the guest.

        Raises:
            AgentError: there is no agent.
        """
        self._await()
        return GetFrames(self._files, request)

    def _open_exec(self, request: Exec) -> Stream:
        strings = (request.cwd, request.user, *request.argv, *request.env, *request.env.values())
        if not request.argv or any("\0" in text for text in strings):
            raise UserError("a program needs a name, and no NUL in it or its environment")
        if len(request.argv) > wire.ARGUMENTS_MAX or len(request.env) > wire.ARGUMENTS_MAX:
            raise UserError(
                f"more than {wire.ARGUMENTS_MAX} arguments or variables for a program in the guest"
            )
        flags = wire.EXEC_TTY * request.tty | wire.EXEC_INPUT * request.stdin
        payload = wire.exec_request(request.argv, request.env, request.cwd, request.user, request.size, flags)
        self._await()
        return self._connection.open(Type.EXEC, payload)

    def _await(self) -> None:
        """Raises:
        AgentError: the guest has no agent, as far as can be told.
        """
        if not wait_patiently(self._connection.has_become_ready, self._is_idle):
            raise AgentError(NO_AGENT)

    # -- for the machine --

    def attach(self, port: Port) -> None:
        """The port of the board, again after each reboot."""
        self._connection.attach(port)

    def detach(self) -> None:
        """The board goes down."""
        self._connection.detach()

    def close(self) -> None:
        """The machine has ended."""
        self._connection.close()

    def metrics(self) -> dict[str, int]:
        """Since the machine was made, over its reboots."""
        return dict(self._connection.counters)
