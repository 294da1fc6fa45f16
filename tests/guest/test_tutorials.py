"""The tutorials do what they say: each console block is run, line by line, by a user with no machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence import VM
from ringfence.image.debian import Guest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PAGES = ("own-vm.md", "docker-users.md")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_SECONDS = 300


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian: Guest) -> Iterator[Path]:
    """A home directory with nothing in it, and our two names on the PATH."""
    for name in ("ringfence", "rf"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ringfence "$@"\n')
        program.chmod(0o755)
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield tmp_path / "work"
    for vm in VM.list():
        vm.remove(force=True)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command and the output that the page shows for it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def matches(shown: str, output: str) -> bool:
    """``...`` stands for anything; spaces may be more."""
    pattern = ".*".join(re.escape(piece) for piece in " ".join(shown.split()).split("..."))
    return re.fullmatch(pattern, " ".join(output.split()), re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_does_what_it_says(user: Path, page: str) -> None:
    blocks = BLOCK.findall((TUTORIALS / page).read_text())
    assert blocks
    for kind, block in blocks:
        steps = commands(block) if kind == "console" else [(f"{sys.executable} - <<'END'\n{block}END", "...")]
        for command, shown in steps:
            done = subprocess.run(
                ["bash", "-c", command], cwd=user, text=True, timeout=COMMAND_SECONDS,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert matches(shown, done.stdout), f"$ {command}\n{done.stdout}\nbut the page shows:\n{shown}"
            assert kind == "console" or done.returncode == 0, done.stdout
    assert [vm.name for vm in VM.list()] == []
