"""A VMM process of its own: `main([DIRECTORY, RUNTIME, READY])` is one machine's life.

It is started by `host/spawn.py`, which waits for a line at the descriptor READY: ``{"pid": n}`` once the
machine runs, or what went wrong. From then on it is asked through its control socket, and lives as long as
its machine.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from ringfence.api.places import Place
from ringfence.api.spec import Spec, read_spec, replace_text
from ringfence.errors import RingfenceError
from ringfence.vmm.jail import Plan, enter, prepare
from ringfence.vmm.machine import Machine
from ringfence.vmm.outcome import BUG_STATUS, Kind, Outcome
from ringfence.vmm.requests import MachineRequests, describe
from ringfence.vmm.scrollback import LogWriter, Scrollback
from ringfence.vmm.server import Server
from ringfence.vmm.translation_cache import TranslationCache

#: How long clients may take to read the last of a machine that has ended.
FAREWELL_SECONDS = 2.0


class Managed:
    """A machine with its control socket and its log of the console, from `__enter__` to its exit.

    Inside, `requests.machine` may be started; at the exit the ending is written down and told to who waits.
    """

    def __init__(self, place: Place, spec: Spec, machine: Machine) -> None:
        self._place = place
        self._spec = spec
        self._machine = machine
        self._scrollback = Scrollback()
        self._before = machine.console.tee
        machine.console.tee = self._receive
        self.requests = MachineRequests(spec, machine, self._scrollback)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._log = LogWriter(self._scrollback, os.open(place.console_log, flags, 0o600))
        self._server = Server(place.socket, self.requests, self.requests.ended)

    def _receive(self, data: bytes) -> None:
        self._scrollback.append(data)
        if self._before is not None:
            self._before(data)

    def __enter__(self) -> Managed:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = self._machine.outcome
        if outcome is None:
            outcome = Outcome(Kind.FAILED, detail=str(error or "it was left alone"))
        write_exit(self._place, outcome)
        self._scrollback.close()
        self._server.end(FAREWELL_SECONDS)
        self._log.join(FAREWELL_SECONDS)
        if self._spec.is_removed:
            self._place.remove()


def write_exit(place: Place, outcome: Outcome) -> None:
    replace_text(place.exit, json.dumps(asdict(describe(outcome)), indent=1))


def jail_plan(place: Place | None, spec: Spec) -> Plan:
    """What a machine's process keeps: its own directories, and what its machine needs. It may read the cache
    of translations, not add to it: what a guest that has broken out left there would be run by others."""
    readable = []
    if spec.machine.get("translation_cache"):
        directory = TranslationCache().directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        readable.append(directory)
    writable = [] if place is None else [place.directory, place.runtime]
    return Plan.of(spec.config, readable=readable, writable=writable)


def main(arguments: list[str]) -> int:
    """The process's life; its exit status, which nobody waits for. The machine's name is held already."""
    directory, runtime, ready = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    place = Place(directory.name, directory, runtime)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal it was started from is none of its business
    try:
        spec = read_spec(place.config)
        plan = jail_plan(place, spec)
        held = prepare(plan)
        with Machine(**spec.machine) as machine, Managed(place, spec, machine) as managed:
            signal.signal(signal.SIGTERM, lambda number, frame: _terminate(machine, number, frame))
            machine.confine = plan.confine_vcpu
            managed.requests.jail = held | enter(plan)
            machine.start()
            _tell(ready, {"pid": os.getpid()})
            ready = -1
            machine.wait()
    except RingfenceError as error:
        print(f"ringfence: {error}", file=sys.stderr)
        _tell(ready, {"error": str(error), "status": error.exit_status})
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        _tell(ready, {"error": f"a bug in ringfence: {error!r}", "status": BUG_STATUS})
        return BUG_STATUS
    return 0


def _terminate(machine: Machine, number: int, frame: FrameType | None) -> None:
    machine.stop(Outcome(Kind.KILLED, number))


def _tell(fd: int, message: Mapping[str, Any]) -> None:
    """One line to who started us, once."""
    if fd >= 0:
        os.write(fd, json.dumps(message).encode() + b"\n")
        os.close(fd)
