"""The command line's frame: every error is one line and a status, and help is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from ringfence.cli import main as module
from ringfence.cli.main import run
from ringfence.cli.run import check_report, write_report
from ringfence.errors import DiskBusy, HostError, UserError


def verb(error: BaseException) -> click.Command:
    @click.command("verb")
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("no such\n  thing"), 2, "ringfence: no such thing\n"),
        (DiskBusy("disk.img: in use"), 2, "ringfence: disk.img: in use\n"),
        (HostError("no memory"), 10, "ringfence: no memory\n"),
        (click.UsageError("what?"), 2, "ringfence: what?\n"),
    ],
)
def test_an_error_is_one_line_and_its_status(
    error: Exception,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module.Verbs, "get_command", lambda *_: verb(error))
    assert run(["verb"]) == status
    assert capsys.readouterr().err == line


def test_a_bug_shows_its_traceback_and_has_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.Verbs, "get_command", lambda *_: verb(ZeroDivisionError("oops")))
    assert run(["verb"]) == module.BUG_STATUS
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module.Verbs, "get_command", lambda *_: verb(KeyboardInterrupt()))
    assert run(["verb"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["fly"], ["--fly"], ["run", "--fly"], ["run", "--memory"], ["run", "a", "b"]]
)
def test_wrong_usage_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_names_verbs_and_statuses_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from ringfence.cli.main import run; run(['--help']); "
        "heavy = {'rich', 'iced_x86', 'elftools', 'ringfence.vmm.machine', 'ringfence.core.x86.vcpu'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "run" in done.stdout and "explain" in done.stdout and "triple fault" in done.stdout
    assert run(["run", "--help"]) == 0
    assert "triple fault" in capsys.readouterr().out
    assert run(["--version"]) == 0


def test_every_verb_can_be_imported() -> None:
    for name in module.VERBS:
        assert run([name, "--help"]) == 0


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m ringfence explain x86 --all | head -n 1"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("privileged")
    assert done.stderr == ""


def test_a_report_goes_to_stderr_or_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report({"a": 1}, "json")
    assert capsys.readouterr().err == '{"a": 1}\n'
    path = tmp_path / "r.json"
    check_report(str(path))
    write_report({"a": 1}, str(path))
    assert path.read_text() == '{\n  "a": 1\n}\n'
    for bad in ("xml", str(tmp_path / "no" / "r.json")):
        with pytest.raises(UserError, match="--report"):
            check_report(bad)
