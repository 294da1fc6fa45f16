"""apt's configuration: the mirrors a user has chosen already."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.image import apt
from ringfence.image.apt import Source

MAIN = ("main", "contrib")


def test_one_line_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://no.example/debian bookworm main\n"
        "deb http://one.example/debian/ bookworm main contrib # comment\n"
        "deb-src http://one.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/a b] https://two.example/debian trixie main\n"
        "deb [broken http://three.example/debian trixie main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb\n"
    )
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "more.list").write_text("deb file:/srv/debian bookworm main\n")
    (tmp_path / "sources.list.d" / "ignored.bak").write_text("deb http://no.example/debian bookworm main\n")
    assert apt.sources(tmp_path) == [
        Source("http://one.example/debian", "bookworm", MAIN),
        Source("https://two.example/debian", "trixie", ("main",)),
        Source("file:/srv/debian", "bookworm", ("main",)),
    ]


def test_deb822_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(
        "Types: deb deb-src\n# a comment\nURIs: http://one.example/debian\n"
        "Suites: bookworm\n bookworm-updates\nComponents: main contrib\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n\n"
        "types: deb-src\nURIs: http://src.example\nSuites: bookworm\nComponents: main\n"
    )
    assert apt.sources(tmp_path) == [
        Source("http://one.example/debian", "bookworm", MAIN),
        Source("http://one.example/debian", "bookworm-updates", MAIN),
    ]


def test_mirror_lists(tmp_path: Path) -> None:
    (tmp_path / "mirrors").write_text("https://near.example/debian\tpriority:1\nhttps://far.example/debian\n")
    (tmp_path / "sources.list").write_text(
        f"deb mirror+file:{tmp_path}/mirrors bookworm main\ndeb mirror+file:{tmp_path}/no bookworm main\n"
    )
    assert apt.sources(tmp_path) == [Source("https://near.example/debian", "bookworm", ("main",))]


def test_no_apt(tmp_path: Path) -> None:
    assert apt.sources(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("", {}),
        ("Acquire::http::Proxy", {"http": "http://proxy.example:3142"}),
        ("Acquire::http::Proxy::deb.example", {"http": "http://proxy.example:3142"}),
    ],
)
def test_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str, expected: dict[str, str]
) -> None:
    script = tmp_path / "apt-config"
    script.write_text(
        f'#!/bin/sh\n[ "$3" = "{configured}" ] && echo "$2=\'http://proxy.example:3142\'"\nexit 0\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert apt.proxies("http://deb.example/debian") == expected
    assert apt.proxies("file:/srv/debian") == {}
