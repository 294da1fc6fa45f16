"""The notebook runs: its cells in order, in one namespace, as Jupyter runs them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence import VM
from ringfence.image.debian import Guest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "python-api.ipynb"
#: By the id of a cell, what it prints; of more lines, some.
PRINTED = {
    "create": "<VM lab, running>",
    "exec": "Linux x86_64\n\n3 'out\\n' 'err\\n'\n",
    "exec-more": "FROM THE HOST\n\nhello from /proc\n\nstatus 1 ls: /nowhere: No such file",
    "copy": "['997', '998', '999']",
    "console": "42\n",
    "time": "paused 0 instructions in a second",
    "jail": "seccomp True",
    "aio": "x86-64 sse2\ncore2duo sse2 ssse3\nx86-64-v2 sse2 ssse3 sse4_2\n",
    "end": "the guest powered off 0\nremoved\n",
}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian: Guest) -> Iterator[None]:
    """With no machines."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    for vm in VM.list():
        vm.remove(force=True)


def code_cells() -> dict[str, str]:
    """By their ids."""
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells), "kept without"
    return {cell["id"]: "".join(cell["source"]) for cell in cells}


def run(name: str, source: str, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    """A cell may await at its top level."""
    code = compile(source, f"cell {name}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = eval(code, namespace)
    if inspect.isawaitable(found):
        runner.run(found)  # type: ignore[arg-type]


def test_the_notebook(user: None, capsys: pytest.CaptureFixture[str]) -> None:
    cells = code_cells()
    assert set(cells) == set(PRINTED)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for name, source in cells.items():
            run(name, source, namespace, runner)
            printed = capsys.readouterr().out
            assert PRINTED[name] in printed, f"cell {name} printed:\n{printed}"
    assert VM.list() == []
