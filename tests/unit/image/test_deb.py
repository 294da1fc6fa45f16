"""Debian packages: what is in them, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_mirror import deb as make_deb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.errors import ImageError
from ringfence.image import deb

FILES = {"bin/one": b"first" * 100, "usr/two": b"second", "boot/odd": b"x"}


def contents(path: Path) -> dict[str, bytes]:
    return dict(deb.members(path, lambda name: True))


@pytest.mark.parametrize("compression", ["xz", ""])
def test_files_come_out(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(make_deb(FILES, compression))
    assert contents(path) == FILES
    assert dict(deb.members(path, lambda name: name.startswith("usr/"))) == {"usr/two": b"second"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a Debian package"),
        (b"!<arch>\n", "no data archive"),
        (make_deb(FILES)[:300], "damaged"),
        (make_deb(FILES).replace(b"data.tar.xz ", b"data.tar.zst"), "packed as data.tar.zst"),
    ],
)
def test_no_package(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        contents(path)


def test_a_missing_package(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        contents(tmp_path / "no.deb")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, 400), st.integers(1, 255), st.integers(0, 1000))
def test_a_damaged_package(tmp_path: Path, at: int, flip: int, length: int) -> None:
    damaged = bytearray(make_deb(FILES, ""))
    damaged[at] ^= flip
    path = tmp_path / "a.deb"
    path.write_bytes(damaged[: len(damaged) - length])
    try:
        contents(path)
    except ImageError as error:
        assert "\n" not in str(error)
