"""The developer's options of `ringfence run`, and disasm-block: with a guest of a few bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from boot_sector import BOOT_SECTOR
from translated_code import translate

from ringfence.api.translations import read_translations, write_translations
from ringfence.cli.main import run
from ringfence.cli.translated import TOLD, check_translations
from ringfence.errors import UnsafeCode
from ringfence.inspection.perf_map import map_path


@pytest.fixture
def kernel(tmp_path: Path) -> str:
    path = tmp_path / "kernel"
    path.write_bytes(BOOT_SECTOR)
    return str(path)


def arguments(kernel: str, *more: str) -> list[str]:
    return [
        "run",
        "--kernel",
        kernel,
        "--raw-at",
        "0x7c00",
        "--debug-exit",
        "0xf4",
        "--engine",
        "translate",
        *more,
    ]


def test_all_of_them_together(
    kernel: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    perf_map = tmp_path / "perf.map"
    monkeypatch.setattr("ringfence.inspection.perf_map.map_path", lambda pid: perf_map)
    options = ("--check-translations", "--translations", str(file), "--perf-map")
    assert run(arguments(kernel, *options)) == 1
    assert "keep to the rules" in capsys.readouterr().err
    found = read_translations(file)
    assert [block.bits for block in found.blocks] and all(block.bits == 32 for block in found.blocks)
    assert f"guest:{found.blocks[0].rip:x}" in perf_map.read_text()

    assert run(["disasm-block", str(file)]) == 0
    assert f"{found.blocks[0].rip:16x}" in capsys.readouterr().out
    assert run(["disasm-block", str(file), "--at", f"{found.blocks[0].rip:#x}"]) == 0
    assert "dec ecx" in capsys.readouterr().out
    assert run(["disasm-block", str(file), "--at", "12345678"]) == 2
    assert "no translated block" in capsys.readouterr().err
    assert run(["disasm-block", str(file), "--at", "x"]) == 2
    assert run(["disasm-block", kernel]) == 2
    assert "not a file that --translations wrote" in capsys.readouterr().err.splitlines()[-1]


def test_what_can_not_be_done_is_refused_before_the_run(kernel: str, tmp_path: Path) -> None:
    interpreted = ["run", "--kernel", kernel, "--raw-at", "0x7c00", "--engine", "interpret"]
    for option in (["--check-translations"], ["--translations", str(tmp_path / "file")], ["--perf-map"]):
        assert run([*interpreted, *option]) == 2
    assert run(arguments(kernel, "--translations", str(tmp_path / "none" / "file"))) == 2
    assert run(arguments(kernel, "--symbols", kernel)) == 2
    assert run(arguments(kernel, "--perf-map", "--symbols", str(tmp_path / "none"))) == 2


def test_unsafe_code_is_status_10(capsys: pytest.CaptureFixture[str]) -> None:
    found, block = translate("90" * 30 + "f4")
    bad = replace(block, host=b"\x0f\x05" * (TOLD + 1) + block.host[2 * TOLD + 2 :])
    with pytest.raises(UnsafeCode) as error:
        check_translations(replace(found, blocks=(bad,)))
    assert error.value.exit_status == 10
    told = capsys.readouterr().err.splitlines()
    assert len(told) == TOLD and "block at 0x8000" in told[0] and "0f05" in told[0]


def test_perf_looks_for_the_map_in_tmp() -> None:
    assert map_path(12) == Path("/tmp/perf-12.map")


def test_a_written_file_is_text(tmp_path: Path) -> None:
    found, _ = translate("90f4")
    write_translations(found, tmp_path / "file")
    assert (tmp_path / "file").read_text().count("\n") == len(found.blocks) + 1
