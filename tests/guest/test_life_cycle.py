"""Machines in the background, through the command line, with a real guest: from `run -d` to `rm`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pexpect
import pytest
from account import User

from benchmarks.guest_console import BOOT_SECONDS, PROMPT
from ringfence import VM
from ringfence.errors import HostError

#: A hundred machines from Python, half of them paused when their plug is pulled.
HUNDRED = """
import os
from ringfence import VM

def descriptors():
    return len(os.listdir("/proc/self/fd"))

before = descriptors()
for number in range(100):
    vm = VM.create(remove=True)
    vm.pause() if number % 2 else vm.stats()
    vm.kill()
print(descriptors() - before)
"""


def test_a_life(user: User) -> None:
    assert json.loads(user.ringfence("run", "-d", "--json", "--name", "one"))["name"] == "one"
    assert user.states() == {"one": "running"}
    vm = VM.find("one")
    vm.console.expect(PROMPT, BOOT_SECONDS)
    vm.exec("date -s @0", check=True)
    assert json.loads(user.ringfence("pause", "--json", "one")) == ["one"]
    assert user.states() == {"one": "paused"}
    before = vm.stats().instructions
    time.sleep(0.2)
    assert vm.stats().instructions == before
    user.ringfence("resume", "one")
    # the agent has set the clock
    vm.exec("until [ $(date +%s) -gt 1000000000 ]; do sleep 0.1; done", check=True)
    vm.console.send("echo awake$((1+1))\n")
    vm.console.expect("awake2")
    assert "awake2" in user.ringfence("logs", "one")
    described = user.ringfence("inspect", "one")
    assert json.loads(described)[0]["state"] == "running"
    assert '\n    "name": "one",\n' in described, "to be looked through with grep"
    assert "one" in user.ringfence("stats", "--no-stream")
    vm.console.send("poweroff\n")
    assert user.ringfence("wait", "one") == "0\n"
    assert user.states() == {} and user.states("--all") == {"one": "exited"}
    user.ringfence("rm", "one")
    assert user.left() == [] and user.states("--all") == {}


def test_a_console_is_left_and_found_again(user: User) -> None:
    name = user.ringfence("run", "-d").strip()
    for _ in range(2):
        child = user.spawn("console", name)
        child.expect(PROMPT, timeout=BOOT_SECONDS)
        child.send("echo seen$((1+1))\r")
        child.expect("seen2", timeout=60)
        child.expect(PROMPT, timeout=60)
        child.send("\x1d")
        child.expect(pexpect.EOF, timeout=60)
        child.close()
        assert child.exitstatus == 0
    assert user.states() == {name: "running"}


def test_a_crash_is_seen_and_told(user: User) -> None:
    user.ringfence("run", "-d", "--name", "one")
    record = VM.find("one").record
    with record.place.log.open("a") as log:
        log.write("its last words\n")
    os.kill(record.pid, signal.SIGKILL)
    with pytest.raises(HostError, match="process died"):
        VM.find("one").wait(60)
    assert user.states() == {"one": "crashed"}
    assert "its last words" in user.ringfence("logs", "--vmm", "one")
    assert "crashed" in user.ringfence("ps")
    user.ringfence("rm", "one")
    user.wait_until_nothing_is_left()


def test_a_process_that_hangs_is_killed_itself(user: User) -> None:
    user.ringfence("run", "-d", "--name", "one")
    os.kill(VM.find("one").record.pid, signal.SIGSTOP)
    assert user.states() == {"one": "busy"}
    user.ringfence("kill", "one")
    assert user.states("--all") == {"one": "exited"}


def test_stop_pulls_the_plug_when_the_grace_is_over(user: User) -> None:
    user.ringfence("run", "-d", "--name", "one")
    user.ringfence("pause", "one")
    user.ringfence("stop", "--time", "0.5", "one")
    assert user.ringfence("wait", "one") == "137\n"


def test_nothing_is_left_of_a_machine_that_is_to_be_removed(user: User) -> None:
    user.ringfence("run", "-d", "--rm", "--name", "one")
    pid = VM.find("one").record.pid
    assert VM.find("one").kill(signal.SIGTERM).exit_status == 128 + signal.SIGTERM
    assert user.left() == []
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_guest_without_an_agent_is_told_of_soon(user: User) -> None:
    """In one line, on a terminal after a word that it is waited for; and a paused guest at once."""
    user.ringfence("run", "-d", "--name", "one")
    user.ringfence("exec", "one", "sh", "-c", "(sleep 0.1; killall -9 ringfence-agent) &")
    while json.loads(user.ringfence("inspect", "one"))[0]["has_agent"]:
        time.sleep(0.1)
    waiting, refused = user.type("exec one true", status=10).splitlines()
    assert "waiting for an agent" in waiting and "no agent answers" in refused
    (refused,) = user.ringfence("cp", "one:/etc/passwd", ".", status=10).splitlines()
    assert "no agent answers" in refused
    user.ringfence("pause", "one")
    assert "one is paused" in user.ringfence("exec", "one", "true", status=10)


def sockets(pid: int) -> int:
    """How many a process has open."""
    found = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(path).startswith("socket:")
    return found


def test_who_waits_is_told_of_machines_that_are_removed(user: User) -> None:
    """The last that is waited for ends first."""
    for name in ("one", "two"):
        user.ringfence("run", "-d", "--rm", "--name", name)
    waiting = user.spawn("wait", "one", "two")
    while sockets(waiting.pid) < 2:
        assert waiting.isalive()
        time.sleep(0.05)
    user.ringfence("kill", "--signal", "TERM", "two")
    user.ringfence("stop", "--time", "0", "one")
    waiting.expect(pexpect.EOF)
    waiting.close()
    assert (waiting.before.split(), waiting.exitstatus) == (["137", "143"], 0)
    user.wait_until_nothing_is_left()


@pytest.mark.nightly
def test_a_hundred_lives_leave_nothing(user: User) -> None:
    """By each way to end, beside a machine whose switch sees all of them come and go."""
    user.ringfence("run", "-d", "--name", "stays", "--network", "lab")
    (switch,) = [line.partition(":")[0] for line in user.processes() if "ringfence-switch" in line]
    user.ringfence("exec", "stays", "true")
    before = len(os.listdir(f"/proc/{switch}/fd"))
    for number in range(100):
        name = user.ringfence("run", "-d", "--network", "lab", *["--rm"] * (number % 2)).strip()
        if number % 10 == 0:
            user.ringfence("exec", name, "true")
        user.ringfence("kill" if number % 10 else "stop", name)
        if not number % 2:
            user.ringfence("rm", name)
    assert user.states("--all") == {"stays": "running"}
    assert len(os.listdir(f"/proc/{switch}/fd")) == before
    user.ringfence("rm", "--force", "stays")
    user.wait_until_nothing_is_left()


@pytest.mark.nightly
def test_a_hundred_lives_from_python_leave_nothing(user: User) -> None:
    done = user.run(user.python("-c", HUNDRED))
    assert (done.returncode, done.stdout) == (0, "0\n"), done
    user.wait_until_nothing_is_left()


@pytest.mark.parametrize(
    "line",
    [
        "run -d --name ../x", "run -d --cpus 2", "run --cpus many", "run --json", "run -t",
        "run -d --report json", "run -d --memory 1", "run -d --kernel /nonexistent", "inspect none",
        "logs none", "logs", "logs -n -1 none", "logs -f --vmm none", "console none", "exec none true",
        "exec none", "cp a b", "cp x:/a y:/b", "cp none:/a b", "ssh none", "port none", "pause none",
        "resume none", "stop none", "stop -t soon none", "stop -t -1 none", "kill none", "kill -s FOO x",
        "rm none", "wait none", "top none", "stats none", "completion tcsh", "ps extra",
        "run -d --label =x", "run -d --raw-at 0x7c00", "run -d --network user -p 80:", "port none 80",
    ],
)  # fmt: skip
def test_bad_input_is_one_line(user: User, line: str) -> None:
    lines = user.ringfence(*line.split(), status=2).splitlines()
    assert len(lines) == 1 and lines[0].startswith("ringfence: "), lines
    assert user.left() == []


def test_a_host_is_examined(user: User) -> None:
    found = {each["name"]: each["state"] for each in json.loads(user.ringfence("doctor", "--json"))}
    assert found["compiled core"] == found["code buffers"] == "ok"
    assert set(found.values()) <= {"ok", "none"}
