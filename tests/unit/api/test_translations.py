"""Translated code as a file: what is written is read again, and anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from translated_code import translate

from ringfence.api.translations import read_translations, write_translations
from ringfence.errors import UserError


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    found, _ = translate("eb0048ffc975f9488b04250000020066f4", rcx=20)
    write_translations(found, tmp_path / "file")
    assert read_translations(tmp_path / "file") == found
    assert found.blocks and any(block.sites for block in found.blocks)


@pytest.mark.parametrize("text", ["", "{}", "[]\n", "7", "no json", '{"format": "another"}', "\0\0"])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(UserError, match="not a file that --translations wrote"):
        read_translations(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    found, _ = translate("90f4")
    path = tmp_path / "file"
    write_translations(found, path)
    path.write_text(path.read_text()[:-9] + "\n")
    with pytest.raises(UserError, match="not a file"):
        read_translations(path)
    path.write_bytes(b"\xff" * 10)
    with pytest.raises(UserError, match="not a file"):
        read_translations(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_translations(tmp_path / "none")
