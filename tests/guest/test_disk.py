"""A virtio disk: written and synced in one run, read back after a reboot and from the host."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from session import Session

from ringfence.image.debian import Guest

DISK_MIB = 16


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(DISK_MIB << 20))
    return path


def arguments(debian: Guest, disk: str) -> list[str | Path]:
    return [
        "--kernel",
        debian.kernel,
        "--initrd",
        debian.initrd,
        "--append",
        "console=ttyS0 quiet",
        "--disk",
        disk,
    ]


def test_what_is_written_and_synced_is_there_after_reboot(debian: Guest, disk: Path) -> None:
    before = hashlib.sha256(disk.read_bytes()).hexdigest()
    session = Session(*arguments(debian, str(disk))).boot()
    try:
        assert session.run("cat /sys/block/vda/size") == str(DISK_MIB << 11)
        assert session.run("sha256sum < /dev/vda", timeout=300).split()[0] == before
        session.run("dd if=/dev/urandom of=/tmp/new bs=64k count=8 2>/dev/null")
        session.run("dd if=/tmp/new of=/dev/vda bs=64k seek=7 conv=fsync,notrunc 2>/dev/null")
        written = session.run("sha256sum < /tmp/new").split()[0]
        session.child.sendline("reboot")
        session.boot()
        assert (
            session.run("dd if=/dev/vda bs=64k skip=7 count=8 2>/dev/null | sha256sum").split()[0] == written
        )
        assert session.power_off() == 0
    finally:
        session.kill()
    image = disk.read_bytes()
    assert hashlib.sha256(image[7 << 16 : 15 << 16]).hexdigest() == written


def test_synced_data_survives_a_killed_vmm(debian: Guest, disk: Path) -> None:
    session = Session(*arguments(debian, str(disk))).boot()
    try:
        session.run("printf ringfence-was-here | dd of=/dev/vda bs=512 seek=5 conv=fsync,notrunc 2>/dev/null")
    finally:
        session.child.kill(9)
        session.kill()
    assert disk.read_bytes()[5 * 512 :].startswith(b"ringfence-was-here")


def test_a_file_system_on_the_disk(debian: Guest, disk: Path) -> None:
    session = Session(*arguments(debian, str(disk))).boot()
    try:
        session.run("mke2fs -q /dev/vda && mount /dev/vda /mnt", timeout=300)
        session.run(
            "cp -r /bin/busybox /etc /mnt/ && sync && umount /mnt && mount /dev/vda /mnt", timeout=300
        )
        assert session.run("cmp /bin/busybox /mnt/busybox && cat /mnt/etc/group") == "root:x:0:"
        session.run("umount /mnt")
        assert session.power_off() == 0
    finally:
        session.kill()


def test_a_read_only_disk_stays_as_it_is(debian: Guest, disk: Path) -> None:
    before = disk.read_bytes()
    disk.chmod(0o444)
    session = Session(*arguments(debian, f"{disk},ro")).boot()
    try:
        assert session.run("cat /sys/block/vda/ro") == "1"
        session.run("! dd if=/dev/zero of=/dev/vda count=1 conv=fsync 2>/dev/null")
    finally:
        session.kill()
    assert disk.read_bytes() == before


def test_a_disk_in_use_is_refused(debian: Guest, disk: Path) -> None:
    session = Session(*arguments(debian, str(disk))).boot()
    try:
        second = Session(*arguments(debian, str(disk)))
        second.expect("ringfence: .*disk.img.*")
        assert second.end() == 2
    finally:
        session.kill()
