"""Messages between a front end and a VMM process: typed, versioned, one JSON object a line.

A connection carries requests, each with one answer, one after the other. After the answer `Opened` it carries
frames (api/frames.py) until it is closed. docs/design/api.md has the protocol in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ringfence.errors import RingfenceError

VERSION = 1
#: Bytes of a request, and of an answer.
REQUEST_LIMIT = 1 << 18
ANSWER_LIMIT = 1 << 22


class BadMessage(RingfenceError):
    """The other side sent what is no message of this version."""


class Refused(RingfenceError):
    """The VMM's answer to a request that it could not grant.

    Attributes:
        kind: one word for programs: ``bad-message``, ``state``, ``no-agent``, ``agent``, ``unsupported``,
            ``busy``, ``failed``.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer; ``NAME`` tells which."""

    NAME: ClassVar[str]


# -- requests: each says what answers it --


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Who is there? `About`."""

    NAME = "hello"


@dataclass(frozen=True, slots=True)
class Inspect(Message):
    """All that can be said of the machine: `Details`."""

    NAME = "inspect"


@dataclass(frozen=True, slots=True)
class Stats(Message):
    """What it uses now: `Usage`."""

    NAME = "stats"


@dataclass(frozen=True, slots=True)
class Pause(Message):
    """`Done` once no instruction runs."""

    NAME = "pause"


@dataclass(frozen=True, slots=True)
class Resume(Message):
    """`Done`."""

    NAME = "resume"


@dataclass(frozen=True, slots=True)
class PowerButton(Message):
    """Ask the guest to shut down: `Done` at once, whatever the guest makes of it."""

    NAME = "power-button"


@dataclass(frozen=True, slots=True)
class Kill(Message):
    """Pull the plug: `Done`. The outcome has this signal's number."""

    signal: int = 9
    NAME = "kill"


@dataclass(frozen=True, slots=True)
class Wait(Message):
    """`Ended`, when it has."""

    NAME = "wait"


@dataclass(frozen=True, slots=True)
class Console(Message):
    """The serial console: `Opened`, then STDOUT from the guest and STDIN to it.

    Attributes:
        replay: how many bytes of earlier output come first.
    """

    replay: int = 0
    NAME = "console"


@dataclass(frozen=True, slots=True)
class Exec(Message):
    """Run a program in the guest: `Opened`, then its frames, EXIT the last.

    Attributes:
        env: added to the agent's environment.
        cwd: "" for the user's home.
        tty: with a terminal as its three streams; all output is STDOUT.
        size: the terminal's rows and columns.
        user: a name or a number; "" for root.
        stdin: False: it reads from /dev/null.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    tty: bool = False
    size: tuple[int, int] = (24, 80)
    user: str = ""
    stdin: bool = True
    NAME = "exec"


@dataclass(frozen=True, slots=True)
class Put(Message):
    """Copy into the guest: `Opened`, then ENTRY, DATA, END to it, EOF of ENTRY, and EXIT from it.

    Attributes:
        path: absolute. Where that is a directory, the tree lands in it under ``name``; else it is the tree's
            own path.
    """

    path: str
    name: str
    NAME = "put"


@dataclass(frozen=True, slots=True)
class Get(Message):
    """Copy out of the guest: `Opened`, then ENTRY, DATA, END from it, EXIT the last."""

    path: str
    NAME = "get"


@dataclass(frozen=True, slots=True)
class SetClock(Message):
    """Set the guest's clock from the host's: `Done`."""

    NAME = "set-clock"


@dataclass(frozen=True, slots=True)
class SetIdentity(Message):
    """Give the guest another name and machine id, as a copy of a machine needs: `Done`."""

    hostname: str
    machine_id: str = ""
    NAME = "set-identity"


# -- answers --


@dataclass(frozen=True, slots=True)
class Done(Message):
    NAME = "done"


@dataclass(frozen=True, slots=True)
class Opened(Message):
    """From the next byte on the connection carries frames."""

    NAME = "opened"


@dataclass(frozen=True, slots=True)
class About(Message):
    name: str
    pid: int
    release: str
    state: str
    NAME = "about"


@dataclass(frozen=True, slots=True)
class Details(Message):
    """Attributes:
    state: ``running`` or ``paused``.
    config: the machine's configuration, as it was created.
    jail: what held of the VMM's jail, by name.
    """

    name: str
    pid: int
    state: str
    started_ns: int
    config: dict[str, Any]
    jail: dict[str, Any]
    report: dict[str, Any]
    has_agent: bool
    NAME = "details"


@dataclass(frozen=True, slots=True)
class Usage(Message):
    """Since the machine was started; times in nanoseconds.

    Attributes:
        cpu_ns: of the host's CPU, all of the VMM's threads.
        guest_ns, idle_ns: of the guest's CPU.
        memory_bytes: resident, guest RAM included.
        guest_memory_bytes: guest RAM, touched or not.
        devices: what each device counted, by its name; ``network`` is what the NIC is plugged into, ``agent``
            the line to the guest's agent.
    """

    state: str
    uptime_ns: int
    cpu_ns: int
    guest_ns: int
    idle_ns: int
    instructions: int
    memory_bytes: int
    guest_memory_bytes: int
    devices: dict[str, Any]
    NAME = "usage"


@dataclass(frozen=True, slots=True)
class Ended(Message):
    """How the machine ended, in the words of `vmm.outcome`."""

    kind: str
    value: int
    exit_status: int
    text: str
    detail: str
    NAME = "ended"


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """The request was not granted; see `Refused`."""

    kind: str
    text: str
    NAME = "failed"


# -- payloads of frames --


@dataclass(frozen=True, slots=True)
class Exit(Message):
    """How a program or a copy ended.

    Attributes:
        status: the exit status; 128 + n after signal n; 126, 127 where it could not be started.
        signal: the signal that ended it, 0 for none.
        error: why it could not be started or went wrong, "" otherwise.
    """

    status: int
    signal: int = 0
    error: str = ""
    NAME = "exit"


@dataclass(frozen=True, slots=True)
class Entry(Message):
    """One object of a copy, parents before children.

    Attributes:
        path: below the copy's root, with ``/``; "" is the root itself. Never absolute, no ``..``.
        kind: ``file``, ``directory`` or ``link``.
        mode: permission bits.
        size: bytes of a file, as it was when the copy came to it.
        target: of a link.
    """

    path: str
    kind: str
    mode: int
    mtime_ns: int = 0
    size: int = 0
    target: str = ""
    NAME = "entry"


Request = (
    Hello | Inspect | Stats | Pause | Resume | PowerButton | Kill | Wait | Console | Exec | Put | Get
    | SetClock | SetIdentity
)  # fmt: skip
Answer = Done | Opened | About | Details | Usage | Ended | Failed
