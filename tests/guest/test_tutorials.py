"""The tutorials do what they say: each console block is run, line by line, by a user with no machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import User

from ringfence import VM

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PAGES = ("own-vm.md", "docker-users.md")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def at_home(user: User) -> User:
    """With our two names on the PATH."""
    programs = user.new_folder("bin")
    for name in ("ringfence", "rf"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {user.account.python} -m ringfence "$@"\n')
        program.chmod(0o755)
    user.account.give(programs)
    user.environment["PATH"] = f"{programs}:{user.environment['PATH']}"
    return user


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
def test_a_tutorial_does_what_it_says(at_home: User, page: str) -> None:
    blocks = BLOCK.findall((TUTORIALS / page).read_text())
    assert blocks
    for kind, block in blocks:
        python = f"{at_home.account.python} - <<'END'\n{block}END"
        steps = commands(block) if kind == "console" else [(python, "...")]
        for command, shown in steps:
            done = at_home.run([*at_home.account.prefix, "bash", "-c", f"exec 2>&1\n{command}"])
            assert matches(shown, done.stdout), f"$ {command}\n{done.stdout}\nbut the page shows:\n{shown}"
            assert kind == "console" or done.returncode == 0, done.stdout
    assert [vm.name for vm in VM.list()] == []
