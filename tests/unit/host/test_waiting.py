"""Waiting for a machine's end, on whichever side of it the question comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from ringfence.api import places
from ringfence.api.messages import Ended
from ringfence.api.places import Place
from ringfence.errors import HostError, UserError
from ringfence.host.client import NoAnswer
from ringfence.host.waiting import Waiting
from ringfence.vmm.server import Server

ENDED = Ended("power_off", 0, 0, "the guest powered off", "")
#: A machine's process that holds its lock, and no more.
HOLD = """
import sys
from pathlib import Path
from ringfence.api.places import Place
held = Place("one", *map(Path, sys.argv[1:])).hold()
print("held", flush=True)
sys.stdin.read()
"""


class NoRequests:
    def answer(self, request: object) -> Ended:
        raise AssertionError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A machine that is there, and has no process."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = places.place("one")
    place.directory.mkdir(parents=True)
    place.runtime.mkdir(parents=True)
    place.config.write_text("{}")
    return place


@pytest.fixture
def process(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Its process."""
    command = [sys.executable, "-c", HOLD, place.directory, place.runtime]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def end(place: Place, server: Server, process: subprocess.Popen[bytes]) -> None:
    """As a machine does that is to be removed."""
    server.end(5)
    place.remove()
    process.kill()


def test_who_asked_before_is_told_whatever_is_left(place: Place, process: subprocess.Popen[bytes]) -> None:
    server = Server(place.socket, NoRequests(), lambda: ENDED)
    server.start()
    with Waiting(place) as waiting:
        with pytest.raises(NoAnswer):
            waiting.ended(0)
        end(place, server, process)
        assert waiting.ended() == ENDED


def test_who_comes_too_late_is_told_that_it_is_not_there(
    place: Place, process: subprocess.Popen[bytes]
) -> None:
    server = Server(place.socket, NoRequests(), lambda: ENDED)
    server.start()
    end(place, server, process)
    with Waiting(place) as waiting, pytest.raises(UserError, match="no machine 'one'"):
        waiting.ended()


def test_what_it_left_is_read_later(place: Place) -> None:
    place.exit.write_text(json.dumps(asdict(ENDED)))
    with Waiting(place) as waiting:
        assert waiting.ended() == ENDED


def test_one_that_has_no_socket_yet(place: Place, process: subprocess.Popen[bytes]) -> None:
    with Waiting(place) as waiting:
        with pytest.raises(NoAnswer):
            waiting.ended(0.2)
        server = Server(place.socket, NoRequests(), lambda: ENDED)
        server.start()
        with pytest.raises(NoAnswer):
            waiting.ended(0.2)
        end(place, server, process)
        assert waiting.ended() == ENDED


def test_a_process_that_died(place: Place, process: subprocess.Popen[bytes]) -> None:
    with Waiting(place) as waiting:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(HostError, match="one: its process died"):
            waiting.ended()
