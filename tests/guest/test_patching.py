"""`ringfence run --patch`: Debian boots with its sensitive instructions patched while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from session import Session

from ringfence.cli.main import run
from ringfence.image.debian import Guest


def test_debian_boots_and_says_what_was_patched(
    debian: Guest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    arguments = ["--kernel", debian.kernel, "--initrd", debian.initrd, "--append", "console=ttyS0 quiet"]
    session = Session(*arguments, "--patch", "--report", path).boot()
    assert session.run("echo $((6*7))") == "42"
    assert session.power_off() == 0
    (vcpu,) = json.loads(path.read_text())["vcpus"]
    rows = {row["instruction"]: row for row in vcpu["rows"]}
    for name in ("pushf Fv", "sti", "cli", "swapgs", "mov Rq,Cq"):
        row = rows[name]
        assert row["patched"] > 0 and row["class"] in ("privileged", "sensitive"), name
        # a place calls out 16 times before it is patched, and then in the cases that are not quick
        assert sum(row["called"].values()) < 20 * sum(row["translated"].values()), name
    assert sum(row["patched"] for row in rows.values()) == vcpu["counters"]["patches"] > 50
    assert run(["explain", str(path)]) == 0
    text = capsys.readouterr().out
    assert "pushf Fv" in text and "call-outs patched" in text
