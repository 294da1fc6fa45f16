"""Starting a VMM process that outlives who starts it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ringfence.api import places
from ringfence.api.places import Place
from ringfence.api.spec import Spec, write_spec
from ringfence.errors import HostError, RingfenceError, UserError
from ringfence.host import registry
from ringfence.host.names import make_name

#: Names that are tried where the user gave none.
TRIES = 20
#: Starts the VMM as a grandchild, which belongs to nobody: no zombie, no hang-up. It holds its name before it
#: imports what takes time, for without that it looks dead.
_DETACH = """\
import os, sys
from pathlib import Path
if os.fork():
    os._exit(0)
from ringfence.api.places import Place
directory, runtime = map(Path, sys.argv[1:3])
held = Place(directory.name, directory, runtime).hold()
from ringfence.vmm.managed import main
sys.exit(main(sys.argv[1:]))
"""


def reserve(spec: Spec) -> tuple[Place, Spec]:
    """The places of a machine to be, its configuration written; from now on its name is taken.

    Where the specification has no name, one is made up.

    Raises:
        UserError: the name is taken, or none can be had.
        HostError: there is no place for directory or socket.
    """
    places.make_private(places.runtime_root())
    root = places.make_private(places.state_root())
    for _ in range(TRIES):
        place = places.place(spec.name or make_name())
        # its network knows it by the same name
        named = replace(spec, name=place.name, machine=spec.machine | {"name": place.name})
        if _claim(place, named, root):
            places.make_private(place.runtime)
            return place, named
        if spec.name:
            state = registry.find(spec.name).status
            raise UserError(f"{spec.name!r} is taken ({state}): 'ringfence rm {spec.name}' frees it")
    raise UserError("no free name was found: give one with --name")


def _claim(place: Place, spec: Spec, root: Path) -> bool:
    """Make the machine's directory appear with its configuration in it, or not at all where there is one."""
    try:
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    except OSError as error:
        raise HostError(f"cannot make a directory in {root}: {error.strerror}") from error
    config = new / place.config.name
    try:
        write_spec(spec, config)
        new.rename(place.directory)  # over an empty directory, which is nobody's, but over no other
    except OSError as error:
        config.unlink(missing_ok=True)
        new.rmdir()
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise HostError(f"cannot make {place.directory}: {error.strerror}") from error
    return True


def spawn(spec: Spec) -> Place:
    """Start a machine in a process of its own; returns once it runs.

    Raises:
        RingfenceError: it could not be started; nothing is left of it.
    """
    place, _ = reserve(spec)
    try:
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
            [sys.executable, "-P", "-c", _DETACH, place.directory, place.runtime, str(writes)],
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
