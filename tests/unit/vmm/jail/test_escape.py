"""The escaped guest, in a process of its own: what its code can do once the jail is shut."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.vmm.jail.kernel import landlock_abi

PRISONER = Path(__file__).with_name("prisoner.py")
#: What the VMM itself needs, and so has on threads that run no guest code.
NEEDED = {
    "write in the share",
    "read in the share",
    "read the state",
    "remove the state",
    "thread",
    "signal itself",
}

needs_landlock = pytest.mark.skipif(landlock_abi() < 6, reason="the host's Landlock is too old to keep files")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The user's files, with a share and a VMM's state among them."""
    for name in ("share", "other", "vms/own", "vms/state"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("secret", "kernel", "share/file", "vms/state/log", "vms/own/file"):
        (tmp_path / name).write_text(name)
    (tmp_path / "share/out").symlink_to(tmp_path / "secret")
    return tmp_path


@pytest.fixture
def victim() -> Iterator[int]:
    """Another process of the same user."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        assert process.poll() is None, "it was reached"
        process.kill()


def imprison(folder: Path, victim: int, what: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PRISONER, folder, str(victim), what]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def result(folder: Path, victim: int, what: str) -> tuple[dict[str, Any], set[str]]:
    """What held, and what could be done."""
    done = imprison(folder, victim, what)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return said["held"], {name for name, answer in said["result"].items() if answer == "done"}


def test_the_host_says_what_held(folder: Path, victim: int) -> None:
    held, _ = result(folder, victim, "process")
    assert held["no_new_privs"] and held["seccomp"] and not held["sockets"]
    assert held["landlock"] == landlock_abi()
    assert held["limits"]["core"] == 0


@needs_landlock
def test_nothing_is_in_reach_but_the_vmms_own(folder: Path, victim: int) -> None:
    _, done = result(folder, victim, "process")
    assert done == NEEDED - {"write in the share", "read in the share"}


@needs_landlock
def test_a_share_is_in_reach_and_nothing_beside_it(folder: Path, victim: int) -> None:
    _, done = result(folder, victim, "process-share")
    assert done == NEEDED
    assert (folder / "share/mark").exists() and not (folder / "share/mine").exists()


def test_a_vcpus_thread_opens_nothing_at_all(folder: Path, victim: int) -> None:
    """By its filter alone, whatever else the host has."""
    _, done = result(folder, victim, "vcpu")
    assert done == {"signal itself"}


@needs_landlock
def test_a_vcpus_thread_with_shares_opens_what_is_in_them(folder: Path, victim: int) -> None:
    _, done = result(folder, victim, "vcpu-share")
    assert done == NEEDED - {"thread"}


@pytest.mark.parametrize("what", ["execve", "ptrace"])
def test_a_plain_attack_ends_the_process(folder: Path, victim: int, what: str) -> None:
    assert imprison(folder, victim, what).returncode == -signal.SIGSYS
