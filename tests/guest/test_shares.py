"""Directories of the host in a real guest: what programs do with files, and what the host sees of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import User
from session import Session

from ringfence.image.debian import Guest


@pytest.fixture(scope="module")
def shared(owner: User) -> Path:
    folder = owner.new_folder("shared")
    (folder / "rw").mkdir()
    (folder / "ro/deep").mkdir(parents=True)
    (folder / "rw/hello").write_text("from the host\n")
    (folder / "ro/deep/data").write_bytes(os.urandom(3 << 20))
    (folder / "secret").write_text("secret\n")
    (folder / "rw/out").symlink_to(folder / "secret")
    return owner.account.give(folder)


def boot(guest: Guest, owner: User, folder: Path, options: str) -> Iterator[Session]:
    kernel, initrd = (owner.new_file(path.name, path.read_bytes()) for path in guest)
    volumes = (f"{folder}/rw:/mnt/rw:rw{options}", f"{folder}/ro:/mnt/ro:ro{options}")
    session = Session(
        *("--kernel", kernel, "--initrd", initrd, "--append", "console=ttyS0 quiet"),
        *(word for volume in volumes for word in ("-v", volume)),
        user=owner,
    )
    try:
        yield session.boot()
    finally:
        session.kill()


@pytest.fixture(scope="module")
def virtiofs(debian: Guest, owner: User, shared: Path) -> Iterator[Session]:
    yield from boot(debian, owner, shared, "")


@pytest.fixture(scope="module")
def ninep(debian_i386: Guest, owner: User, shared: Path) -> Iterator[Session]:
    yield from boot(debian_i386, owner, shared, ",9p")


@pytest.fixture(params=["virtiofs", "ninep"])
def guest(request: pytest.FixtureRequest) -> Session:
    session = request.getfixturevalue(request.param)
    assert isinstance(session, Session)
    return session


def test_reading(guest: Session, shared: Path) -> None:
    assert guest.run("cat /mnt/rw/hello") == "from the host"
    digest = hashlib.sha256((shared / "ro/deep/data").read_bytes()).hexdigest()
    assert guest.run("sha256sum < /mnt/ro/deep/data").split()[0] == digest


def test_writing(guest: Session, shared: Path) -> None:
    guest.run("rm -rf /mnt/rw/work; mkdir /mnt/rw/work; cd /mnt/rw/work")
    guest.run("dd if=/dev/urandom of=big bs=64k count=40 conv=fsync 2>/dev/null")
    digest = hashlib.sha256((shared / "rw/work/big").read_bytes()).hexdigest()
    assert guest.run("sha256sum < big").split()[0] == digest
    guest.run("echo 1 > log; echo 2 >> log; truncate -s 3 log; mv log b; ln b c; ln -s b d; chmod 640 b")
    assert guest.run("stat -c '%h %a' d; stat -Lc '%h %a %u' d").split() == ["1", "777", "2", "640", "0"]
    assert (shared / "rw/work/b").read_text() == "1\n2" and (shared / "rw/work/c").stat().st_nlink == 2
    assert guest.run("exec 3<>gone; echo data >&3; rm gone; cat /proc/self/fd/3; exec 3>&-") == "data"
    assert guest.run("tar cf - b c d | tar xf - -C /tmp; cat /tmp/d").split() == ["1", "2"]
    guest.run("cd /; rm -r /mnt/rw/work")
    assert not (shared / "rw/work").exists()


def test_confinement(guest: Session, shared: Path) -> None:
    assert "can't open" in guest.run("cat /mnt/rw/out 2>&1; true")  # it leads nowhere in the guest's own tree
    assert "Read-only" in guest.run("touch /mnt/ro/x 2>&1; true")
    assert "not permitted" in guest.run("mknod /mnt/rw/null c 1 3 2>&1; true")
    assert guest.run("ls -a /mnt/rw/..").split() == [".", "..", "ro", "rw"]


def test_the_host_changes_things(guest: Session, shared: Path) -> None:
    guest.run("cat /mnt/rw/hello > /dev/null")
    (shared / "rw/hello").write_text("changed on the host\n")
    (shared / "rw/new").write_text("new\n")
    assert guest.run("sleep 1.1; cat /mnt/rw/hello /mnt/rw/new").splitlines() == [
        "changed on the host",
        "new",
    ]
    (shared / "rw/new").unlink()
    (shared / "rw/hello").write_text("from the host\n")
    guest.run("sleep 1.1; [ ! -e /mnt/rw/new ]")
