"""The Python API for machines that have a process of their own.

    >>> with VM.create(memory="1G", name="box") as vm:
    ...     vm.exec(["uname", "-r"]).stdout
    ...     vm.cp("input.csv", ":/root/")
    ...     vm.exec("wc -l /root/input.csv", check=True)

`ringfence.Machine` is a machine in *this* process; a `VM` goes on when this process ends, unless it is used
as a context manager. What it does is asked for through its control socket, as the command line does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal as signals
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ringfence.api import messages
from ringfence.api.frames import Channel, FrameSocket
from ringfence.api.messages import Details, Ended, Refused, Request, Usage
from ringfence.api.spec import Spec, replace_text
from ringfence.errors import UserError
from ringfence.host import copy, registry
from ringfence.host.client import ANSWER_SECONDS, Client, Gone
from ringfence.host.console import RemoteConsole
from ringfence.host.pidfd import Process
from ringfence.host.ports import choose_ports
from ringfence.host.process import communicate
from ringfence.host.registry import Record
from ringfence.host.spawn import spawn
from ringfence.host.waiting import Waiting
from ringfence.vmm.outcome import Kind, Outcome

Found = TypeVar("Found")

#: How long a guest may take to shut down before its plug is pulled, as docker has it.
GRACE_SECONDS = 10.0
#: Longer than the VMM waits for a guest to boot and its agent to answer.
AGENT_SECONDS = 120.0
#: How long a process may take to pull its machine's plug before it is killed itself.
KILL_SECONDS = 5.0


class VM:
    """A managed machine. `create` starts one, `find` and `list` give those that exist."""

    def __init__(self, name: str) -> None:
        self._place = registry.find(name).place
        self._console: RemoteConsole | None = None
        self._lock = threading.Lock()
        #: called when a guest's agent lets `exec` or `cp` wait
        self.on_wait: Callable[[], object] = lambda: None

    @classmethod
    def create(
        cls,
        kernel: str | os.PathLike[str] | None = None,
        *,
        name: str = "",
        guest: str = "",
        remove: bool = False,
        labels: Mapping[str, str] | None = None,
        **machine: Any,
    ) -> VM:
        """Start a machine in a process of its own; returns once it runs, before its guest has booted.

        Args:
            kernel: as for `Machine`; without it, and without ``firmware``, ``guest`` is booted.
            name: what it is called; made up where it is "".
            guest: one that Ringfence can fetch, ``"debian"`` where nothing else is said.
            remove: leave nothing behind when it ends.
            machine: the other arguments of `Machine`.

        Raises:
            UserError: the input can't be used, or the name is taken.
            HostError: the host refused something.
        """
        if kernel is None and machine.get("firmware") is None:
            # brings HTTP and TLS, which `exec` and the like can do without
            from ringfence.host.guests import DEFAULT_GUEST, fetch_guest

            machine = fetch_guest(guest := guest or DEFAULT_GUEST) | machine
        if kernel is not None:
            machine["kernel"] = kernel
        machine.setdefault("agent", True)
        machine["publish"] = choose_ports(machine.get("publish", ()))
        spec = Spec(name, absolute(machine), guest, remove, dict(labels or {}))
        _ = spec.config  # refuses here what the machine's process would
        return cls(spawn(spec).name)

    @classmethod
    def find(cls, name: str) -> VM:
        """Raises:
        UserError: there is no machine of that name.
        """
        return cls(name)

    @classmethod
    def list(cls) -> list[VM]:
        return [cls(record.name) for record in registry.list_machines()]

    # -- what it is --

    @property
    def name(self) -> str:
        return self._place.name

    @property
    def record(self) -> Record:
        """All that is known from outside.

        Raises:
            UserError: it was removed.
        """
        return registry.find(self.name)

    @property
    def state(self) -> str:
        """``running``, ``paused``, ``exited``, ``crashed`` …; ``removed``."""
        try:
            return self.record.state
        except UserError:
            return "removed"

    def inspect(self) -> Details:
        return _expect(self.ask(messages.Inspect()), Details)

    def stats(self) -> Usage:
        return _expect(self.ask(messages.Stats()), Usage)

    @property
    def console(self) -> RemoteConsole:
        """The serial console: ``expect``, ``send``, ``read``, ``log``. The first use connects."""
        with self._lock:
            if self._console is None:
                self._console = RemoteConsole(self.connect())
            return self._console

    # -- life --

    def pause(self) -> None:
        self.ask(messages.Pause())

    def resume(self) -> None:
        self.ask(messages.Resume())

    def stop(self, grace: float = GRACE_SECONDS) -> Ended:
        """Ask the guest to shut down, and pull the plug when it has not after ``grace`` seconds."""
        deadline = time.monotonic() + grace
        with self.waiting() as waiting:
            # a process that hangs, or ends at once, is told apart below
            with contextlib.suppress(Gone, TimeoutError):
                self.ask(messages.Resume(), grace)
                self.ask(messages.PowerButton(), deadline - time.monotonic())
            try:
                return waiting.ended(deadline - time.monotonic())
            except TimeoutError:
                return self._pull_plug(waiting, signals.SIGKILL)

    def kill(self, signal: int = 9) -> Ended:
        """Pull the plug. A process that does not answer is killed itself."""
        with self.waiting() as waiting:
            return self._pull_plug(waiting, signal)

    def _pull_plug(self, waiting: Waiting, signal: int) -> Ended:
        try:
            with contextlib.suppress(Gone):
                self.ask(messages.Kill(signal), KILL_SECONDS)
            return waiting.ended(KILL_SECONDS)
        except TimeoutError:
            return self._kill_process(waiting.process)

    def _kill_process(self, process: Process) -> Ended:
        process.kill()
        process.wait()
        outcome = Outcome(Kind.KILLED, signals.SIGKILL, "its process did not answer")
        ended = Ended(outcome.kind.value, outcome.value, outcome.exit_status, str(outcome), outcome.detail)
        if self._place.directory.exists():
            replace_text(self._place.exit, json.dumps(asdict(ended), indent=1))
            self._place.socket.unlink(missing_ok=True)
        return ended

    def wait(self, timeout: float | None = None) -> Ended:
        """How it ended, once it has, and its process is gone.

        Raises:
            TimeoutError: it still runs after ``timeout`` seconds.
            HostError: its process died without a word.
        """
        with self.waiting() as waiting:
            return waiting.ended(timeout)

    def waiting(self) -> Waiting:
        """Ask now how it ends, and be told later, whatever is left of it then."""
        return Waiting(self._place)

    def remove(self, force: bool = False) -> None:
        """Delete what is left of it.

        Raises:
            UserError: it still runs, and ``force`` is not set.
        """
        record = self.record
        if record.is_alive:
            if not force:
                raise UserError(f"{self.name} is {record.state}: stop it first, or use --force")
            self.kill()
        if self._console is not None:
            self._console.hang_up()
            self._console = None
        self._place.remove()

    # -- in the guest --

    def exec(
        self,
        argv: Sequence[str] | str,
        *,
        input: bytes | str = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        text: bool = True,
        check: bool = False,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a program in the guest; a string is for its shell. Waits for a guest that still boots: for a
        minute, or a few seconds where it does nothing.

        Args:
            text: output as `str` (UTF-8); else bytes.
            check: another status than 0 raises `subprocess.CalledProcessError`.
        """
        words = ("/bin/sh", "-c", argv) if isinstance(argv, str) else tuple(argv)
        request = messages.Exec(words, dict(env or {}), cwd, user=user, stdin=bool(input))
        output: dict[Channel, bytearray] = {Channel.STDOUT: bytearray(), Channel.STDERR: bytearray()}
        data = input.encode() if isinstance(input, str) else input
        with self.opened(request) as stream:
            ended = communicate(stream, data, lambda channel, payload: output[channel].extend(payload))
        found = [bytes(piece).decode(errors="replace") if text else bytes(piece) for piece in output.values()]
        done = subprocess.CompletedProcess(words, ended.status, *found)
        if check:
            done.check_returncode()
        return done

    def cp(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> copy.Copied:
        """Copy a file or a tree; a path in the guest has a colon before it.

        Example:
            >>> vm.cp("data", ":/root/")
            >>> vm.cp(":/var/log/messages", "messages.txt")

        Raises:
            UserError: neither path, or both, are the guest's; a file can't be read or written.
            copy.CopyFailed: the guest could not do its part.
        """
        here, there = os.fspath(source), os.fspath(target)
        if here.startswith(":") == there.startswith(":"):
            raise UserError("one of source and target is in the guest: write ':/path'")
        if there.startswith(":"):
            path = Path(here)
            with self.opened(messages.Put(guest_path(there), path.resolve().name)) as stream:
                return copy.put(stream, path)
        found = guest_path(here)
        with self.opened(messages.Get(found)) as stream:
            return copy.get(stream, Path(there), Path(found).name or self.name)

    # -- the control socket --

    def connect(self) -> Client:
        """Raises:
        Gone: it has no process.
        """
        return Client(self._place.socket)

    def ask(self, request: Request, timeout: float = ANSWER_SECONDS) -> messages.Answer:
        with self.connect() as client:
            return client.ask(request, timeout)

    @contextlib.contextmanager
    def opened(self, request: Request) -> Iterator[FrameSocket]:
        """A stream to the guest's agent. The VMM waits for one that is not there yet.

        Raises:
            Refused: the VMM or the agent says no, or there was no agent in time.
        """
        with self.connect() as client:
            yield client.open(request, AGENT_SECONDS, self.on_wait)

    def __enter__(self) -> VM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(UserError):
            self.remove(force=True)

    def __repr__(self) -> str:
        return f"<VM {self.name}, {self.state}>"


#: Arguments of `Machine` that are files.
_FILES = ("kernel", "initrd", "firmware", "capture")


def absolute(machine: Mapping[str, Any]) -> dict[str, Any]:
    """The same machine for a process elsewhere: no path is relative to where this one runs."""
    found = dict(machine)
    for name in _FILES:
        if found.get(name) is not None:
            found[name] = os.path.abspath(found[name])
    found["disks"] = [os.path.abspath(disk) for disk in found.get("disks", ())]
    return found


def guest_path(text: str) -> str:
    """The path after the colon.

    Raises:
        UserError: it is not absolute.
    """
    path = text.partition(":")[2]
    if not path.startswith("/"):
        raise UserError(f"{text!r}: a path in the guest starts with '/'")
    return path


def _expect(answer: messages.Answer, kind: type[Found]) -> Found:
    if not isinstance(answer, kind):
        raise Refused("bad-message", f"the machine answered {answer.NAME!r}")
    return answer
