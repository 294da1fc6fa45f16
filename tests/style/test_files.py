"""Files stay small enough to see whole, and say at their head what they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_LIMIT = 400
#: Folder names that say nothing of what is in them.
BANNED = {"utils", "helpers", "common", "misc", "manager"}


def _sources() -> list[Path]:
    """Generated files (`_gen_*`, and the C that Cython puts beside a module) are exempt."""
    paths = (path for folder in ("src", "tests", "tools") for path in sorted((ROOT / folder).rglob("*")))
    return [
        path
        for path in paths
        if path.suffix in {".py", ".pxd", ".sh", ".c", ".h"}
        and not path.name.startswith("_gen_")
        and not (path.suffix == ".c" and path.with_suffix(".py").exists())
        and path.is_file()
    ]


SOURCES = _sources()


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_can_be_seen_whole(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LINES_LIMIT, f"{lines} lines: split it along its ideas"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".py"], ids=_name)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_name_says_what_it_holds(path: Path) -> None:
    assert not BANNED & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
