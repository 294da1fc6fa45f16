"""Starting a VMM process that outlives who starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from ringfence.api import places
from ringfence.api.places import Place
from ringfence.api.spec import Spec, write_spec
from ringfence.errors import HostError, RingfenceError, UserError
from ringfence.host import registry
from ringfence.host.names import make_name

#: Names that are tried where the user gave none.
TRIES = 20
#: Starts the VMM as a grandchild, which belongs to nobody: no zombie, no hang-up.
_DETACH = """\
import os, sys
if os.fork():
    os._exit(0)
from ringfence.vmm.managed import main
sys.exit(main(sys.argv[1:]))
"""


def reserve(name: str | None) -> Place:
    """The directory of a machine to be; its name is taken from now on.

    Raises:
        UserError: the name is taken, or none can be had.
        HostError: there is no place for directory or socket.
    """
    places.make_private(places.runtime_root())
    places.make_private(places.state_root())
    for _ in range(TRIES):
        place = places.place(name or make_name())
        try:
            place.directory.mkdir(mode=0o700)
        except FileExistsError:
            if name is not None:
                state = registry.find(name).status
                raise UserError(
                    f"there is a machine {name!r} already ({state}): 'ringfence rm {name}'"
                ) from None
            continue
        except OSError as error:
            raise HostError(f"cannot make {place.directory}: {error.strerror}") from error
        return place
    raise UserError("no free name was found: give one with --name")


def spawn(spec: Spec) -> Place:
    """Start a machine in a process of its own; returns once it runs. "" is a name to be made up.

    Raises:
        RingfenceError: it could not be started; nothing is left of it.
    """
    place = reserve(spec.name or None)
    try:
        machine = spec.machine | {"name": place.name}  # its network knows it by the same name
        write_spec(replace(spec, name=place.name, machine=machine), place.config)
        _start(place)
    except BaseException:
        place.remove()
        raise
    return place


def _start(place: Place) -> None:
    ready, writes = os.pipe()
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _DETACH, place.directory, place.socket, str(writes)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writes],
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(f"cannot start a process: {error.strerror}") from error
    finally:
        os.close(writes)
        os.close(log)
    with open(ready, "rb") as pipe:
        line = pipe.readline()
    child.wait()
    answer = _parse(line)
    if "pid" not in answer:
        raise _failure(place, answer)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _failure(place: Place, answer: dict[str, Any]) -> RingfenceError:
    """What the process said; or, where it died without a word, the end of its log."""
    if "error" in answer:
        kind = UserError if answer.get("status") == UserError.exit_status else HostError
        return kind(str(answer["error"]))
    lines = registry.find(place.name).last_lines(1)
    return HostError(f"the machine's process died at its start: {' '.join(lines) or 'it left no word'}")
