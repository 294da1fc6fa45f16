"""What devices, network and agent of a real guest count, seen from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from session import Session

from benchmarks.guest_console import HAS_ADDRESS
from ringfence import VM
from ringfence.image.debian import Guest

SECONDS = 60


def test_a_managed_machine(debian: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "file").write_bytes(bytes(100_000))
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    with VM.create(
        debian.kernel, initrd=debian.initrd, append="console=ttyS0 quiet", name="box", network="user",
        shares=[f"{tmp_path / 'share'}:/mnt"], disks=[tmp_path / "disk"],
    ) as vm:  # fmt: skip
        vm.exec(f"{HAS_ADDRESS}; ping -c 1 -W 10 gateway; cat /mnt/file > /dev/null", check=True)
        vm.exec("dd if=/dev/zero of=/dev/vda bs=64k count=2 conv=fsync", check=True)
        command = [sys.executable, "-m", "ringfence", "inspect", "box"]
        (found,) = json.loads(
            subprocess.run(command, capture_output=True, check=True, timeout=SECONDS).stdout
        )
        report = found["report"]
        devices = report["devices"]
        assert devices["net0"]["transmitted_bytes"] > 0 and devices["net0"]["received_bytes"] > 0
        assert devices["disk0"]["written_bytes"] >= 128 << 10
        assert devices["share0"]["open"] >= 1 and devices["share0"]["read"] >= 1
        assert report["agent"]["requests"] == 2 and report["agent"]["connections"] == 1
        assert devices["console0"]["output_bytes"] == report["agent"]["received_bytes"]
        seen = vm.stats().devices
        assert seen["disk0"] == devices["disk0"] and seen["agent"]["requests"] == 2


def test_the_report_of_a_run_that_has_ended(debian: Guest, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    guest = ("--kernel", debian.kernel, "--initrd", debian.initrd, "--append", "console=ttyS0 quiet")
    session = Session(*guest, "--network", "user", "--allow", "192.0.2.1", "--report", path)
    try:
        session.boot()
        session.run(HAS_ADDRESS)
        session.run("! wget -q -O - http://198.51.100.1/")
        assert session.power_off() == 0
    finally:
        session.kill()
    report = json.loads(path.read_text())
    assert report["network"]["network_denied"] >= 1
    assert report["devices"]["net0"]["transmitted_bytes"] > 0
    assert report["agent"]["connections"] == 1
