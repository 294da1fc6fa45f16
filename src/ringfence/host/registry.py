"""All machines of this user: what each is doing, from what it left on disk and what its process says."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields

from ringfence.api import places
from ringfence.api.messages import About, Ended, Hello
from ringfence.api.places import Place
from ringfence.api.spec import Spec, read_spec
from ringfence.errors import RingfenceError, UserError
from ringfence.host.client import Client

#: How long a process may take to say how it is, before it counts as busy.
HELLO_SECONDS = 2.0
#: How long a process may take until it holds its machine's lock.
START_NS = 10_000_000_000
#: struct flock of Linux on x86-64: type, whence, start, length, pid.
_FLOCK = struct.Struct("hh4xqqi4x")


@dataclass(frozen=True, slots=True)
class Record:
    """One machine as it is now.

    Attributes:
        state: ``starting``, ``running``, ``paused``, ``exited``, ``crashed`` (its process is gone and left no
            word), ``busy`` (it has a process that does not answer) or ``elsewhere`` (on another host).
        spec: None where it can't be read.
        pid: of its process, 0 for none.
        ended: how it ended, where it left a word.
    """

    place: Place
    state: str
    spec: Spec | None
    pid: int
    ended: Ended | None

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def is_alive(self) -> bool:
        return self.pid != 0

    @property
    def status(self) -> str:
        """The state in a few words, as `ps` has it."""
        if self.ended is not None:
            return f"exited ({self.ended.exit_status}): {self.ended.text}"
        if self.state == "elsewhere" and self.spec is not None:
            return f"on {self.spec.host}"
        return self.state

    def last_lines(self, count: int = 3) -> list[str]:
        """Of what its VMM process said."""
        try:
            with self.place.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                return file.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []


def list_machines() -> Iterator[Record]:
    """By name."""
    try:
        names = sorted(entry.name for entry in os.scandir(places.state_root()) if entry.is_dir())
    except OSError:
        return
    for name in names:
        if places.NAME_PATTERN.fullmatch(name):
            with contextlib.suppress(UserError):
                yield find(name)


def find(name: str) -> Record:
    """Raises:
    UserError: there is no machine of that name.
    """
    place = places.place(name)
    pid = holder(place)
    if not place.config.exists():
        if not pid:
            place.remove()
        raise UserError(f"no machine {name!r}: 'ringfence ps --all' lists them")
    spec = None
    with contextlib.suppress(RingfenceError):
        spec = read_spec(place.config)
    ended = read_exit(place)
    if pid:
        state = _ask_state(place)
        return Record(place, state, spec, pid, ended if state == "exited" else None)
    if ended is not None:
        return Record(place, "exited", spec, 0, ended)
    return Record(place, _state_without_process(place, spec), spec, 0, None)


def _state_without_process(place: Place, spec: Spec | None) -> str:
    if spec is not None and spec.host != os.uname().nodename:
        return "elsewhere"
    is_new = spec is not None and time.time_ns() - spec.created_ns < START_NS
    return "starting" if is_new and not place.lock.exists() else "crashed"


def read_exit(place: Place) -> Ended | None:
    """How it ended; None where that is not written."""
    try:
        value = json.loads(place.exit.read_bytes())
        return Ended(**{field.name: value[field.name] for field in fields(Ended)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def holder(place: Place) -> int:
    """The process that has the machine's lock, 0 for none."""
    try:
        with place.lock.open("rb") as file:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _ask_state(place: Place) -> str:
    if place.exit.exists():
        return "exited"
    if not place.socket.exists():
        return "starting"
    try:
        with Client(place.socket) as client:
            answer = client.ask(Hello(), timeout=HELLO_SECONDS)
    except (RingfenceError, TimeoutError):
        return "exited" if place.exit.exists() else "busy"
    if not isinstance(answer, About):
        return "busy"
    return {"new": "starting", "ended": "exited"}.get(answer.state, answer.state)
