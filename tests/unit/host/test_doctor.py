"""What the host offers is found by trying it, and a device node that only opens does not pass."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ringfence.host import doctor, kvm_probe
from ringfence.host.doctor import examine


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_host_that_runs_these_tests_can_run_machines() -> None:
    found = {finding.name: finding for finding in examine()}
    assert not [finding for finding in found.values() if finding.state == "bad"]
    assert all(finding.text for finding in found.values())


def test_a_place_that_is_not_ours_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    assert {finding.name: finding.state for finding in examine()}["sockets"] == "bad"


def test_a_missing_device_is_no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe_kvm", lambda: "/dev/kvm: No such file or directory")
    assert next(finding for finding in examine() if finding.name == "KVM").state == "none"


def test_a_kvm_that_emulates_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_probe, "_run", lambda fd: 0.1)
    assert "500 ns" in kvm_probe._judge(-1)
    monkeypatch.setattr(kvm_probe, "_run", lambda fd: 0.0001)
    assert kvm_probe._judge(-1) == ""


def test_a_probe_that_dies_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    null = os.open

    def open_null(path: str, flags: int) -> int:
        return null("/dev/null", flags)

    monkeypatch.setattr(kvm_probe.os, "open", open_null)
    assert "does not work" in kvm_probe.probe()
    monkeypatch.setattr(kvm_probe, "_judge", lambda fd: os.kill(os.getpid(), signal.SIGKILL))
    assert "does not get to its end" in kvm_probe.probe()
