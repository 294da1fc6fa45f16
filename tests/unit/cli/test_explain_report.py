"""`ringfence explain REPORT.json`: the tables of a run's report, and one line for a file that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boot_sector import BOOT_SECTOR

from ringfence.cli.main import run


@pytest.fixture
def report(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Of a guest that loops twenty times."""
    kernel, path = tmp_path / "kernel", tmp_path / "report.json"
    kernel.write_bytes(BOOT_SECTOR)
    engine = getattr(request, "param", "translate")
    options = ["--raw-at", "0x7c00", "--debug-exit", "0xf4", "--engine", engine, "--report", str(path)]
    assert run(["run", "--kernel", str(kernel), *options]) == 1
    return path


def line_of(text: str, start: str) -> list[str]:
    """The words of the table row that starts so."""
    (line,) = (line for line in text.splitlines() if line.strip().startswith(start))
    return line.split()


def test_a_run_is_explained(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vcpu = json.loads(report.read_text())["vcpus"][0]
    executed = vcpu["classes"]["executed"]
    assert sum(executed.values()) == vcpu["instructions"]
    assert executed["in_place"] == 9 and executed["exit"] == 1
    assert [row["instruction"] for row in vcpu["rows"] if row["called"]] == ["out Ib,AL"]
    assert run(["explain", str(report)]) == 0
    text = capsys.readouterr().out
    assert line_of(text, "these in place")[3] == str(executed["in_place"])
    assert f" {vcpu['instructions']} instructions, " in text
    assert line_of(text, "exit IO")[2] == "1"
    assert "Privileged and sensitive" in text and "Call-outs" in text


def test_what_called_out_is_listed(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(report.read_text())
    row = {
        "instruction": "pushf Fv", "encoding": "9c", "class": "sensitive", "translated": {"emulate": 3},
        "called": {"emulate": 4000}, "patched": 2, "sampled": 60, "sampled_ns": 6000,
    }  # fmt: skip
    made["vcpus"][0]["rows"] = [row] * 25 + [row | {"instruction": "bt Ev,Gv", "class": "innocuous"}]
    report.write_text(json.dumps(made))
    assert run(["explain", str(report)]) == 0
    text = capsys.readouterr().out
    assert text.count("pushf Fv") == 20 and "and 5 more: --all" in text
    assert line_of(text, "bt Ev,Gv")[2:] == ["innocuous", "0", "3", "2", "4,000", "100", "0.4", "emulate"]
    assert run(["explain", str(report), "--all"]) == 0
    assert capsys.readouterr().out.count("pushf Fv") == 25


@pytest.mark.parametrize("report", ["interpret"], indirect=True)
def test_the_interpreters_report_has_no_translations(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", str(report)]) == 0
    text = capsys.readouterr().out
    assert "Where the time went" in text and "Call-outs" not in text


@pytest.mark.parametrize(
    "content",
    [
        None, "", "{", "[]", "{}", '{"ringfence": "1", "vcpus": 3}', '{"ringfence": "1", "vcpus": [3]}',
        '{"ringfence": "1", "vcpus": [{"guest_ns": "x"}]}', "[" * 100_000,
        '{"ringfence": "\\u001b[2J", "vcpus": [{}]}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_file_that_is_no_report(
    content: str | bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run(["explain", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ringfence: ") and captured.err.count("\n") == 1
    assert "\x1b" not in captured.err
