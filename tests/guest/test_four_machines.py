"""Four machines on one switch, of a user without rights: by the command line, and from Python."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import urllib.request

import pexpect
from account import SECONDS, User

from benchmarks.guest_console import HAS_ADDRESS

NAMES = ("alpha", "beta", "gamma", "delta")
SIZE = 3 << 20
#: The same in short; what it prints is read by the test.
SCRIPT = f"""
import hashlib, itertools, os
from contextlib import ExitStack
from ringfence import VM

assert os.geteuid() != 0
with ExitStack() as stack:
    vms = [
        stack.enter_context(VM.create(name=name, network="lab", memory="128M", remove=True))
        for name in {NAMES}
    ]
    for vm in vms:
        vm.exec("{HAS_ADDRESS}; mkdir /www; httpd -h /www", check=True)
    vms[0].cp("data", ":/www/data")
    for source, vm in itertools.pairwise(vms):
        vm.exec(["wget", "-q", "-O", "/www/data", f"http://{{source.name}}/data"], check=True)
    vms[-1].cp(":/www/data", "again")
    for vm, other in itertools.permutations(vms, 2):
        vm.exec(["ping", "-c", "1", "-W", "30", other.name], check=True)
    vms[1].pause()
    assert vms[1].state == "paused"
    vms[1].resume()
    print(*[vm.stop({SECONDS}).exit_status for vm in vms])
"""


def guest_runs(user: User, name: str, script: str) -> str:
    return user.type(f"exec {name} sh -c '{script}'")


def test_through_the_command_line(user: User) -> None:
    data = os.urandom(SIZE)
    digest = hashlib.md5(data).hexdigest()
    user.new_file("data", data)
    shared = user.new_folder("shared")
    extra = {"alpha": "-p 80", "beta": f"-v {shared}:/mnt/shared"}
    for name in NAMES:
        shown = user.type(f"run -d --name {name} --network lab --memory 128M {extra.get(name, '')}")
        assert shown.splitlines()[-1] == name
    assert user.states() == dict.fromkeys(NAMES, "running")
    # Nobody's processes, for root is who may do anything.
    assert {os.stat(f"/proc/{line.partition(':')[0]}").st_uid for line in user.processes()} == {
        user.folder.stat().st_uid
    }
    assert user.folder.stat().st_uid != 0

    # From one to the next by name, and out of the last: what went into the first.
    for name in NAMES:
        guest_runs(user, name, f"{HAS_ADDRESS}; mkdir /www; httpd -h /www")
    user.type("cp data alpha:/www/data")
    for source, name in itertools.pairwise(NAMES):
        guest_runs(user, name, f"wget -q -O /www/data http://{source}/data")
    user.type("cp delta:/www/data again")
    assert (user.work / "again").read_bytes() == data
    for name, other in itertools.permutations(NAMES, 2):
        assert "1 packets received" in guest_runs(user, name, f"ping -c 1 -W 30 {other}")

    # A published port of a machine on a switch, and a directory of the host.
    address = user.type("port alpha 80").strip()
    with urllib.request.urlopen(f"http://{address}/data", timeout=60) as answer:
        assert hashlib.md5(answer.read()).hexdigest() == digest
    assert user.type("port alpha") == f"80/tcp -> {address}\n"
    assert address in user.type("ps")
    guest_runs(user, "beta", "cp /www/data /mnt/shared/; cd /mnt/shared; md5sum data > sum")
    assert (shared / "sum").read_text().split()[0] == digest
    assert (shared / "data").stat().st_uid == user.folder.stat().st_uid

    # A shell on the terminal, with its signals, its size and its status.
    child = user.spawn("exec", "-it", "gamma", "sh")
    child.expect("# ")
    child.setwinsize(33, 99)
    child.send("sh -c 'echo slee\"\"ps; exec sleep 1000'\r")
    child.expect("sleeps")  # Ctrl-C is for this one now, not for the shell that started it
    child.send("\x03")
    child.expect("# ")
    child.send("stty size; exit 7\r")
    child.expect("33 99")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 7

    # One stands still and the others do not miss it; then it is there again.
    user.type("pause gamma")
    assert user.states()["gamma"] == "paused"
    assert "100% packet loss" in user.type("exec alpha ping -c 1 -W 1 gamma", status=1)
    assert "1 packets received" in guest_runs(user, "alpha", "ping -c 1 -W 30 delta")
    user.type("resume gamma")
    assert "1 packets received" in guest_runs(user, "alpha", "ping -c 1 -W 30 gamma")

    # A process dies; ps says so, with the last it said, and nobody else is hurt.
    (beta,) = [each for each in json.loads(user.type("ps --json")) if each["name"] == "beta"]
    log = user.folder / "state/ringfence/vms/beta/log"
    with log.open("a") as file:
        file.write("its last words\n")
    os.kill(beta["pid"], signal.SIGKILL)
    shown = user.type("ps")
    assert "crashed" in shown and "beta: its last words" in shown
    assert "1 packets received" in guest_runs(user, "gamma", "ping -c 1 -W 30 delta")

    for name in ("alpha", "gamma", "delta"):
        user.type(f"stop --time {SECONDS} {name}")
        assert user.type(f"wait {name}") == "0\n"
    assert user.states("--all") == {name: "crashed" if name == "beta" else "exited" for name in NAMES}
    user.type(f"rm {' '.join(NAMES)}")
    user.wait_until_nothing_is_left()


def test_through_python(user: User) -> None:
    data = os.urandom(SIZE)
    user.new_file("data", data)
    done = user.run(user.python("-c", SCRIPT))
    assert (done.returncode, done.stdout) == (0, "0 0 0 0\n"), done
    assert (user.work / "again").read_bytes() == data
    user.wait_until_nothing_is_left()
