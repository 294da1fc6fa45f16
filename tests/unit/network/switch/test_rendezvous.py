"""A connection to a switch, made before the process gives up the right to make one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.network.switch import rendezvous


def test_an_early_connection_is_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    rendezvous.connect_early("lab")
    with monkeypatch.context() as jailed:
        jailed.setenv("XDG_RUNTIME_DIR", "/nowhere")
        early = rendezvous.connect("lab")
    other = rendezvous.connect("lab")
    assert early.getpeername() == other.getpeername() == str(rendezvous.folder() / "lab.sock")
    assert early.fileno() != other.fileno()
    early.close()
    other.close()
