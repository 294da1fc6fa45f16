"""The default guest, built from a small mirror; modules and their dependencies."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fake_mirror import BUSYBOX, KERNEL_RELEASE, Mirror, deb, module
from test_cpio import read

from ringfence.errors import ImageError, UserError
from ringfence.image import apt, initramfs, modules
from ringfence.image.apt import Source
from ringfence.image.cache import Cache
from ringfence.image.debian import Guest, fetch_debian, fetch_package


@pytest.fixture(autouse=True)
def unsigned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No gpgv, no mirror in the environment, none in apt's configuration."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RINGFENCE_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(apt, "sources", lambda: [])


def fetch(cache: Cache, mirror: Mirror | None) -> Guest:
    return fetch_debian(mirror.url if mirror else None, "bookworm", cache=cache)


def test_the_guest(mirror: Mirror, cache: Cache) -> None:
    guest = fetch(cache, mirror)
    assert guest.kernel.read_bytes() == b"a kernel"
    files = read(guest.initrd.read_bytes())
    assert files["bin/busybox"][3] == BUSYBOX
    assert files["bin/sh"][3] == b"busybox"
    assert files["init"][0] & 0o777 == 0o755 and files["init"][3].startswith(b"#!/bin/sh\n")
    folder = f"lib/modules/{KERNEL_RELEASE}"
    present = {name.rpartition("/")[2] for name in files if name.endswith(".ko")}
    assert present == {"virtio_pci.ko", "virtio.ko", "virtio_ring.ko", "virtio-rng.ko"}
    dependencies = files[f"{folder}/modules.dep"][3].decode().splitlines()
    assert (
        "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko "
        "kernel/drivers/virtio/virtio.ko" in dependencies
    )
    assert files[f"{folder}/modules.alias"][3] == b"alias pci:v00001AF4d* virtio_pci\n"


def test_the_second_time_needs_no_mirror(mirror: Mirror, cache: Cache) -> None:
    assert fetch(cache, mirror) == fetch(cache, None)


def test_a_damaged_guest_is_built_again(mirror: Mirror, cache: Cache) -> None:
    guest = fetch(cache, mirror)
    guest.initrd.write_bytes(b"damaged")
    guest.kernel.unlink()
    assert fetch(cache, None) == guest
    assert guest.kernel.read_bytes() == b"a kernel"
    assert read(guest.initrd.read_bytes())


def test_runs_at_the_same_time(mirror: Mirror, cache: Cache) -> None:
    guests: list[Guest] = []
    threads = [threading.Thread(target=lambda: guests.append(fetch(cache, mirror))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(guests) == 4 and len(set(guests)) == 1
    assert not list(cache.root.rglob(".new-*"))


def test_the_mirror_comes_from_the_environment_or_from_apt(
    mirror: Mirror, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [Source("file:///nonexistent", "bookworm", ("contrib",))]
    monkeypatch.setattr(apt, "sources", lambda: [*others, Source(mirror.url, "bookworm", ("main",))])
    assert fetch_package("busybox-static", suite="bookworm", cache=cache).exists()
    monkeypatch.setattr(apt, "sources", lambda: others)
    monkeypatch.setenv("RINGFENCE_DEBIAN_MIRROR", mirror.url)
    assert fetch_package("linux-image-cloud-amd64", suite="bookworm", cache=cache).exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"arch": "vax"}, "no Debian guest for vax"),
        ({"suite": "../etc"}, "not a Debian suite"),
        ({"mirror": "somewhere"}, "not a mirror's URL"),
        ({"mirror": "nonsense://x"}, "no Debian mirror answers"),
        ({}, "no Debian mirror is known"),
    ],
)
def test_what_the_user_gets_wrong(cache: Cache, arguments: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        fetch_debian(cache=cache, **arguments)


def test_a_cache_that_cannot_be_written(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write the cache"):
        fetch(Cache(tmp_path / "file"), mirror)


def test_packages_without_what_they_are_known_for(mirror: Mirror, cache: Cache) -> None:
    mirror.add("busybox-static", "", deb({"bin/busybox": b"no ELF"}))
    with pytest.raises(ImageError, match="no list of applets"):
        fetch(cache, mirror)
    mirror.add(f"linux-image-{KERNEL_RELEASE}", "", deb({"boot/config": b""}), version="2")
    with pytest.raises(ImageError, match="lacks the file"):
        fetch(Cache(cache.root / "other"), mirror)


# Modules


def test_a_module_is_known_by_one_name() -> None:
    assert modules.canonical("kernel/drivers/char/virtio-rng.ko") == "virtio_rng"


def test_closure_leaves_out_what_is_built_in() -> None:
    depends = {"a": ["b", "builtin"], "b": ["c"], "c": [], "d": []}
    assert modules.closure(["a", "also_builtin"], depends) == {"a": ["b"], "b": ["c"], "c": []}


def test_what_is_needed_deepest_is_last_and_once() -> None:
    needs = {"top": ["left", "right"], "left": ["base"], "right": ["left", "base"], "base": []}
    lines = modules.dependency_file(needs, {name: f"{name}.ko" for name in needs}).splitlines()
    assert "top.ko: right.ko left.ko base.ko" in lines
    assert "base.ko:" in lines


def test_modinfo() -> None:
    assert modules.depends(module("virtio,virtio-ring")) == ["virtio", "virtio_ring"]
    assert modules.depends(module()) == [] == modules.depends(b"")
    assert modules.aliases(module("", "pci:v1*", "a", "a")) == ["a", "pci:v1*"]


def test_applets_of_something_else() -> None:
    with pytest.raises(ImageError):
        initramfs.applets(b"\x7fELF without a list")
