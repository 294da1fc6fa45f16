"""Machines as `ps` sees them: from what they left, whatever became of their processes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ringfence.api import places
from ringfence.api.messages import Ended
from ringfence.api.places import Place
from ringfence.api.spec import Spec, read_spec, write_spec
from ringfence.errors import HostError, RingfenceError, UserError
from ringfence.host import registry, spawn
from ringfence.host.ports import Published, published

ENDED = Ended("power_off", 0, 0, "the guest powered off", "")
HOLD = """
import sys
from pathlib import Path
from ringfence.api.places import Place
name, directory, runtime = sys.argv[1:]
Place(name, Path(directory), Path(runtime)).hold()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def make(name: str = "", **machine: object) -> Place:
    place, _ = spawn.reserve(Spec(name, machine))
    return place


@contextmanager
def held(place: Place) -> Iterator[int]:
    """Another process has its lock."""
    command = [sys.executable, "-c", HOLD, place.name, place.directory, place.runtime]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid


def test_a_name_is_taken_once() -> None:
    make("one")
    with pytest.raises(UserError, match="one"):
        make("one")
    assert make().name != make().name


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "", "a b", "x" * 64, "é"])
def test_only_a_plain_name_is_one(name: str) -> None:
    with pytest.raises(UserError):
        places.place(name)


def test_what_is_made_is_for_its_user_alone() -> None:
    place = make("one")
    for directory in (place.directory, place.runtime, place.runtime.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_link_is_no_runtime_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "run" / "ringfence").symlink_to(tmp_path / "other")
    with pytest.raises(HostError, match="not a directory of yours"):
        make("one")


def test_a_socket_has_a_name_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp/" + "x" * 100)
    with pytest.raises(UserError, match="XDG_RUNTIME_DIR"):
        places.place("one")


def test_no_process_and_no_last_word_is_a_crash() -> None:
    place = make("one")
    place.lock.touch()
    place.log.write_text("first\nlast words\n")
    record = registry.find("one")
    assert (record.state, record.pid, record.last_lines(1)) == ("crashed", 0, ["last words"])


def test_a_process_gets_a_moment_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    make("one")
    assert registry.find("one").state == "starting"
    monkeypatch.setattr(registry, "START_NS", 0)
    assert registry.find("one").state == "crashed"


def test_a_last_word_is_an_exit() -> None:
    place = make("one")
    place.exit.write_text(json.dumps(asdict(ENDED)))
    record = registry.find("one")
    assert record.ended == ENDED
    assert record.status == "exited (0): the guest powered off"


def test_a_process_without_a_socket_is_starting_and_its_number_is_known() -> None:
    place = make("one")
    with held(place) as pid:
        record = registry.find("one")
        assert (record.state, record.pid) == ("starting", pid)
        place.socket.touch()
        assert registry.find("one").state == "busy"
    assert registry.find("one").state == "crashed"


def test_a_machine_of_another_host_is_not_called_dead() -> None:
    place = make("one")
    write_spec(replace(read_spec(place.config), host="elsewhere.example"), place.config)
    assert registry.find("one").status == "on elsewhere.example"


def test_the_list_has_damaged_ones_and_nothing_else(tmp_path: Path) -> None:
    make("two")
    make("one").config.write_text("{")
    (places.state_root() / ".new").mkdir()
    (places.state_root() / "file").touch()
    assert [(record.name, record.spec is None) for record in registry.list_machines()] == [
        ("one", True), ("two", False),
    ]  # fmt: skip


def test_there_are_none_where_nothing_was_made() -> None:
    assert list(registry.list_machines()) == []
    with pytest.raises(UserError, match="no machine"):
        registry.find("one")


def test_removed_is_gone() -> None:
    place = make("one")
    for path in (place.log, place.console_log, place.exit, place.lock, place.socket):
        path.touch()
    place.remove()
    assert not place.directory.exists() and not place.runtime.exists()


def test_what_a_jailed_process_leaves_is_swept_up_and_its_name_is_free() -> None:
    place = make("one")
    place.config.unlink()
    assert list(registry.list_machines()) == []
    assert not place.directory.exists() and not place.runtime.exists()
    place.directory.mkdir()
    assert make("one") == place


def test_a_machine_that_takes_its_leave_is_not_swept_from_under_it() -> None:
    place = make("one")
    with held(place):
        place.config.unlink()
        assert list(registry.list_machines()) == []
        assert place.directory.exists() and place.lock.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ringfence": 2}', '{"ringfence": 1, "nonsense": 1}'])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RingfenceError, match="not the configuration"):
        read_spec(tmp_path / "config.json")


def test_a_machine_that_can_not_start_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't read kernel"):
        spawn.spawn(Spec("one", {"kernel": str(tmp_path / "missing")}))
    assert not os.listdir(places.state_root()) and not os.listdir(places.runtime_root())


def test_published_ports() -> None:
    make("one", publish=["8080:80", "0.0.0.0:5353:53/udp", "[::1]:2222:22"])
    assert published("one") == [
        Published("127.0.0.1", 8080, 80, "tcp"),
        Published("0.0.0.0", 5353, 53, "udp"),
        Published("::1", 2222, 22, "tcp"),
    ]
