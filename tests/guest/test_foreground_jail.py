"""`ringfence run` in the foreground shuts its own process in, and still does what it has to at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from boot_sector import BOOT_SECTOR

from ringfence import VM
from ringfence.api.translations import read_translations
from ringfence.vmm.jail.kernel import landlock_abi

#: sti; 1: hlt; jmp 1b
IDLE = bytes.fromhex("fb f4 eb fd")
SECONDS = 60


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user with no machines and no cache."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path
    assert VM.list() == []


def start(folder: Path, code: bytes, *options: str | Path) -> subprocess.Popen[bytes]:
    kernel = folder / "kernel"
    kernel.write_bytes(code)
    base = [sys.executable, "-m", "ringfence", "run", "--kernel", kernel, "--raw-at", "0x7c00", "--rm"]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen([*base, *options], cwd=folder, stdin=nothing, stdout=pipe, stderr=pipe)


def find_running(name: str) -> VM:
    """Once its guest runs, and so its jail is shut."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = [vm for vm in VM.list() if vm.name == name and vm.state == "running"]
        if found and found[0].stats().instructions:
            return found[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def thread_statuses(pid: int) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a connection's, which has ended
            found.append((task / "status").read_text())
    return found


def test_every_thread_is_shut_in(folder: Path) -> None:
    with start(folder, IDLE, "--name", "cell") as child:
        try:
            jail = find_running("cell").inspect().jail
            statuses = thread_statuses(child.pid)
        finally:
            child.send_signal(signal.SIGTERM)
            output, errors = child.communicate(timeout=SECONDS)
    assert child.returncode == -signal.SIGTERM, (output, errors)
    assert len(statuses) >= 3
    assert all("Seccomp:\t2\n" in status and "NoNewPrivs:\t1\n" in status for status in statuses)
    assert jail["seccomp"] and jail["no_new_privs"] and not jail["sockets"]
    assert (jail["landlock"], jail["unconfined_threads"]) == (landlock_abi(), 0 if landlock_abi() else 1)
    assert not list(folder.glob("state/ringfence/vms/*")) and not list(folder.glob("run/ringfence/*/*"))


def test_what_the_command_writes_after_the_run(folder: Path) -> None:
    with start(
        folder, BOOT_SECTOR, "--debug-exit", "0xf4", "--report", "report.json", "--check-translations",
        "--translations", "code", "--perf-map", "--translation-cache",
    ) as child:  # fmt: skip
        output, errors = child.communicate(timeout=SECONDS)
    perf_map = Path(f"/tmp/perf-{child.pid}.map")
    try:
        assert (child.returncode, output) == (1, b""), errors
        assert b"keep to the rules" in errors
        assert "guest:" in perf_map.read_text()
    finally:
        perf_map.unlink(missing_ok=True)
    assert json.loads((folder / "report.json").read_text())["outcome"]["exit_status"] == 1
    assert read_translations(folder / "code").blocks
    assert len(os.listdir(folder / "cache" / "ringfence" / "translations")) == 1
