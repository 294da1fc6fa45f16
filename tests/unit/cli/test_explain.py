"""`ringfence explain`: the right rows for real code, and one line for a file that is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ringfence.cli.main import run
from ringfence.cli.rows import find_row

CASES = [
    ("ec", 64, "in", "privileged"),
    ("6e", 32, "outs", "privileged"),
    ("00c8", 64, "add", "innocuous"),
    ("4801c8", 64, "add", "innocuous"),
    ("f048 0fb10b", 64, "cmpxchg", "innocuous"),
    ("0f84 00000000", 32, "jz", "innocuous"),
    ("f7f1", 64, "div", "innocuous"),
    ("0fc7f0", 64, "rdrand", "innocuous"),
    ("f30fc7f8", 64, "rdpid", "innocuous"),
    ("0fc70f", 64, "cmpxchg8b", "innocuous"),
    ("c4e2 7bf6 c1", 64, "mulx", "innocuous"),
    ("41 50", 64, "push", "innocuous"),
    ("27", 32, "daa", "innocuous"),
    ("c5fc58c1", 64, "vaddps", "innocuous"),
    ("c4e2f928c2", 64, "vpmuldq", "innocuous"),
    ("62f1fd4858c1", 64, "vaddpd", "innocuous"),
    ("62f1fd1858c1", 32, "vaddpd", "innocuous"),
    ("62f2fd4826c1", 64, "vptestmw", "innocuous"),
]


@pytest.mark.parametrize(("code", "bits", "mnemonic", "klass"), CASES, ids=[case[0] for case in CASES])
def test_code_is_found_in_the_table(code: str, bits: int, mnemonic: str, klass: str) -> None:
    row = find_row(bytes.fromhex(code), bits)
    assert row is not None
    assert (row.mnemonic, row.klass) == (mnemonic, klass)


def test_what_is_not_in_the_table_is_said_to_be_so() -> None:
    assert find_row(bytes.fromhex("27"), 64) is None, "DAA does not exist in 64-bit mode"
    assert find_row(bytes.fromhex("c4e27950c0"), 64) is None, "AVX-VNNI is not in the table"


def test_the_table_is_listed_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "x86"]) == 0
    text = capsys.readouterr().out
    privileged, _, rest = text.partition("sensitive (")
    assert privileged.startswith("privileged (fault outside ring 0)")
    assert "hlt" in privileged and "lgdt" in privileged and "pushf" not in privileged
    sensitive, _, innocuous = rest.partition("innocuous (")
    for mnemonic in ("sgdt", "sidt", "sldt", "str", "smsw", "pushf", "popf", "lar", "lsl", "verr", "verw"):
        assert f"  {mnemonic} " in sensitive, mnemonic
    assert "--all" in innocuous and "add Eb,Gb" not in innocuous
    run(["explain", "x86", "--all"])
    assert "add Eb,Gb" in capsys.readouterr().out


def test_raw_code_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "code.bin"
    path.write_bytes(bytes.fromhex("fa 0f01e0 9c 58 ec f4 9d c4e27950c0 c3"))
    assert run(["explain", str(path), "--bits", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:-1]
    #                cli smsw pushf pop in hlt popf vpdpbusd ret
    assert [line[0] for line in lines] == list("PSS PPS? ")


def test_an_elf_files_code_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "code.s"
    source.write_text(".globl _start\n_start: cli\nsmsw %ax\nret\n.data\n.byte 0xfa\n")
    subprocess.run(["gcc", "-c", "-o", tmp_path / "code.o", source], check=True)
    assert run(["explain", str(tmp_path / "code.o")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(".text: 64-bit code")
    assert [line[0] for line in lines[1:-1]] == ["P", "S", " "]
    assert lines[-1] == "3 instructions: 1 privileged, 1 sensitive, 1 innocuous"
    run(["explain", "--marked", str(tmp_path / "code.o")])
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_chunk_border_splits_no_instruction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringfence.cli.explain.CHUNK_BYTES", 64)
    path = tmp_path / "code.bin"
    path.write_bytes(bytes.fromhex("48b8 0102030405060708") * 100)
    run(["explain", str(path)])
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "100 instructions: 100 innocuous"


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\x7fELF", b"\x7fELF" + bytes(60), b"\x7fELF\x02\x01\x01" + b"\xff" * 200],
    ids=["missing", "empty", "four bytes", "zeros", "ones"],
)
def test_a_file_that_is_none(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert run(["explain", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ringfence: ") and captured.err.count("\n") == 1
