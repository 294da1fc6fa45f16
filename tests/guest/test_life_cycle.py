"""Machines in the background, through the command line, with a real guest: from `run -d` to `rm`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from session import BOOT_SECONDS, PROMPT

from ringfence import VM
from ringfence.errors import HostError
from ringfence.host.registry import list_machines
from ringfence.host.vm import Ended
from ringfence.image.debian import Guest

APPEND = "console=ttyS0 quiet"


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian: Guest) -> Iterator[Path]:
    """A user with no machines; none is left at the end."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield tmp_path
    for vm in VM.list():
        vm.remove(force=True)


def ringfence(*arguments: str | Path, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ringfence", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=BOOT_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def run(debian: Guest, *arguments: str) -> str:
    guest = ("--kernel", debian.kernel, "--initrd", debian.initrd, "--append", APPEND)
    return ringfence("run", "-d", *guest, *arguments).strip()


def states(*arguments: str) -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(ringfence("ps", "--json", *arguments))
    return {each["name"]: each["state"] for each in found}


def left(homes: Path) -> list[str]:
    """Files, sockets and directories of machines."""
    list(list_machines())  # sweeps up
    return [str(path) for path in homes.rglob("*") if path.name not in ("run", "state", "ringfence", "vms")]


def test_a_life(homes: Path, debian: Guest) -> None:
    assert run(debian, "--name", "one") == "one"
    assert states() == {"one": "running"}
    vm = VM.find("one")
    vm.console.expect(PROMPT, BOOT_SECONDS)
    ringfence("pause", "one")
    assert states() == {"one": "paused"}
    before = vm.stats().instructions
    time.sleep(0.2)
    assert vm.stats().instructions == before
    ringfence("resume", "one")
    vm.console.send("echo awake$((1+1))\n")
    vm.console.expect("awake2")
    assert "awake2" in ringfence("logs", "one")
    assert json.loads(ringfence("inspect", "one"))[0]["state"] == "running"
    assert "one" in ringfence("stats", "--no-stream")
    vm.console.send("poweroff\n")
    assert ringfence("wait", "one") == "0\n"
    assert states() == {} and states("--all") == {"one": "exited"}
    ringfence("rm", "one")
    assert left(homes) == [] and states("--all") == {}


def test_a_console_is_left_and_found_again(homes: Path, debian: Guest) -> None:
    name = run(debian)
    for _ in range(2):
        child = pexpect.spawn(sys.executable, ["-m", "ringfence", "console", name], encoding="utf-8")
        child.delaybeforesend = None
        child.expect(PROMPT, timeout=BOOT_SECONDS)
        child.send("echo seen$((1+1))\r")
        child.expect("seen2", timeout=60)
        child.expect(PROMPT, timeout=60)
        child.send("\x1d")
        child.expect(pexpect.EOF, timeout=60)
        child.close()
        assert child.exitstatus == 0
    assert states() == {name: "running"}


def test_a_crash_is_seen_and_told(homes: Path, debian: Guest) -> None:
    run(debian, "--name", "one")
    record = VM.find("one").record
    with record.place.log.open("a") as log:
        log.write("its last words\n")
    os.kill(record.pid, signal.SIGKILL)
    with pytest.raises(HostError, match="process died"):
        VM.find("one").wait(60)
    assert states() == {"one": "crashed"}
    assert "its last words" in ringfence("logs", "--vmm", "one")
    assert "crashed" in ringfence("ps")
    ringfence("rm", "one")
    assert left(homes) == []


def test_a_process_that_hangs_is_killed_itself(homes: Path, debian: Guest) -> None:
    run(debian, "--name", "one")
    os.kill(VM.find("one").record.pid, signal.SIGSTOP)
    assert states() == {"one": "busy"}
    ringfence("kill", "one")
    assert states("--all") == {"one": "exited"}


def test_stop_pulls_the_plug_when_the_grace_is_over(homes: Path, debian: Guest) -> None:
    run(debian, "--name", "one")
    ringfence("pause", "one")
    ringfence("stop", "--time", "0.5", "one")
    assert ringfence("wait", "one") == "137\n"


def test_nothing_is_left_of_a_machine_that_is_to_be_removed(homes: Path, debian: Guest) -> None:
    with VM.create(debian.kernel, initrd=debian.initrd, append=APPEND, name="one", remove=True) as vm:
        pid = vm.record.pid
        ended = vm.kill(signal.SIGTERM)
        assert isinstance(ended, Ended) and ended.exit_status == 128 + signal.SIGTERM
    assert left(homes) == []
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.nightly
def test_a_hundred_lives_leave_nothing(homes: Path, debian: Guest) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        vm = VM.create(debian.kernel, initrd=debian.initrd, append=APPEND, remove=True)
        vm.pause() if number % 2 else vm.stats()
        vm.kill()
    assert left(homes) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize(
    "line",
    [
        "run -d --name ../x", "run -d --cpus 2", "run --cpus many", "run -t", "run -d --report json",
        "run -d --memory 1", "run -d --kernel /nonexistent", "inspect none", "logs none", "logs",
        "logs -n -1 none", "logs -f --vmm none", "console none", "exec none true", "exec none", "cp a b",
        "cp x:/a y:/b", "cp none:/a b", "ssh none", "port none", "pause none", "resume none", "stop none",
        "stop -t soon none", "stop -t -1 none", "kill none", "kill -s FOO x", "rm none", "wait none",
        "top none", "stats none", "completion tcsh", "ps extra",
    ],
)  # fmt: skip
def test_bad_input_is_one_line(homes: Path, line: str) -> None:
    lines = ringfence(*line.split(), status=2).splitlines()
    assert len(lines) == 1 and lines[0].startswith("ringfence: "), lines
    assert left(homes) == []


def test_a_host_is_examined(homes: Path) -> None:
    found = {each["name"]: each["state"] for each in json.loads(ringfence("doctor", "--json"))}
    assert found["compiled core"] == found["code buffers"] == "ok"
    assert set(found.values()) <= {"ok", "none"}


def test_help_is_quick() -> None:
    """The best of five: what it costs when the machine does not do something else."""

    def once() -> float:
        before = os.times()
        ringfence("--help")
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(once() for _ in range(5)) < 0.15
