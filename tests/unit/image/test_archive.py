"""A Debian archive: what is trusted, what is cached, and what is said when something is missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fake_mirror import Mirror, deb

from ringfence.errors import UserError
from ringfence.image.archive import Archive
from ringfence.image.cache import Cache

NO_KEYRING = Path("/nonexistent/keyring.gpg")


def archive(cache: Cache, *urls: str, keyring: Path = NO_KEYRING, arch: str = "amd64") -> Archive:
    return Archive(urls, "bookworm", arch, cache, keyring=keyring)


def test_a_package_is_fetched_once(mirror: Mirror, cache: Cache) -> None:
    first = archive(cache, mirror.url)
    path = first.download(first.package("busybox-static"))
    assert path.read_bytes() == mirror.packages["busybox-static"][2]
    offline = archive(cache)
    assert offline.download(offline.package("busybox-static")) == path


def test_progress_is_told(mirror: Mirror, cache: Cache) -> None:
    seen: list[tuple[str, int, int]] = []
    watched = Archive([mirror.url], "bookworm", "amd64", cache, lambda *step: seen.append(step), NO_KEYRING)
    watched.download(watched.package("busybox-static"))
    size = len(mirror.packages["busybox-static"][2])
    assert ("busybox-static_1_amd64.deb", size, size) in seen


def test_offline_and_cold(cache: Cache) -> None:
    with pytest.raises(UserError, match="no Debian mirror is known: pass --mirror"):
        archive(cache).package("busybox-static")
    with pytest.raises(UserError, match="not in the cache, and no Debian mirror answers") as raised:
        archive(cache, "file:///nonexistent").package("busybox-static")
    assert "\n" not in str(raised.value)


def test_the_next_mirror_is_tried(mirror: Mirror, cache: Cache) -> None:
    assert archive(cache, "file:///nonexistent", mirror.url).package("busybox-static").version == "1"


def test_a_damaged_cache_entry_is_fetched_again(mirror: Mirror, cache: Cache) -> None:
    one = archive(cache, mirror.url)
    package = one.package("busybox-static")
    one.download(package).write_bytes(b"damaged")
    again = archive(cache, mirror.url)
    assert again.download(again.package("busybox-static")).read_bytes().startswith(b"!<arch>")
    for note in cache.root.rglob("*.json"):
        note.write_bytes(b"{damaged")
    assert archive(cache, mirror.url).package("busybox-static") == package


def test_a_package_that_its_successor_has_replaced(mirror: Mirror, cache: Cache) -> None:
    archive(cache, mirror.url).package("busybox-static")  # noted, and not fetched
    mirror.add("busybox-static", "", deb({"bin/busybox": b"newer"}), version="2")
    later = archive(cache, mirror.url)
    path = later.download(later.package("busybox-static"))
    assert path.read_bytes() == mirror.packages["busybox-static"][2]
    assert archive(cache).package("busybox-static").version == "2"


def test_no_such_package_or_architecture(mirror: Mirror, cache: Cache) -> None:
    with pytest.raises(UserError, match="has no package emacs"):
        archive(cache, mirror.url).package("emacs")
    with pytest.raises(UserError, match="no packages for s390x"):
        archive(cache, mirror.url, arch="s390x").package("emacs")


def test_a_package_that_is_not_what_the_index_says(mirror: Mirror, cache: Cache) -> None:
    path = mirror.root / mirror.packages["busybox-static"][0]
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    one = archive(cache, mirror.url)
    with pytest.raises(UserError, match="SHA-256 is not the one in the signed index"):
        one.download(one.package("busybox-static"))
    for size in (len(good) - 1, len(good) + 1):
        path.write_bytes(good.ljust(size)[:size])
        with pytest.raises(UserError, match="cut short or too long"):
            one.download(one.package("busybox-static"))
    assert not list(cache.root.glob("blobs/*"))


def test_an_index_that_is_not_what_the_release_says(mirror: Mirror, cache: Cache) -> None:
    path = mirror.root / "dists/bookworm/main/binary-amd64/Packages.xz"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match="SHA-256"):
        archive(cache, mirror.url).package("busybox-static")


# Signatures: a gpgv of our own says yes or no.


@pytest.fixture
def gpgv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return folder / "gpgv"


def install(gpgv: Path, script: str) -> None:
    gpgv.write_text(f"#!/bin/sh\n{script}\n")
    gpgv.chmod(0o755)


def test_without_a_keyring_it_says_unverified(
    mirror: Mirror, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        archive(cache, mirror.url).package("busybox-static")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["unverified"]


def test_only_what_is_signed_counts(
    mirror: Mirror, cache: Cache, gpgv: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(b"")
    install(gpgv, f'[ "$1 $2 $3 $4" = "--keyring {keyring} --output -" ] && grep -v "amd64/Packages.xz"')
    with pytest.raises(UserError, match="no packages for amd64"):  # the line was outside the signature
        archive(cache, mirror.url, keyring=keyring).package("busybox-static")
    install(gpgv, "cat")
    assert archive(cache, mirror.url, keyring=keyring).package("busybox-static")
    assert not caplog.records


def test_a_bad_signature_is_refused(mirror: Mirror, cache: Cache, gpgv: Path, tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(b"")
    install(gpgv, "cat; exit 1")
    with pytest.raises(UserError, match="not signed by Debian"):
        archive(cache, mirror.url, keyring=keyring).package("busybox-static")
