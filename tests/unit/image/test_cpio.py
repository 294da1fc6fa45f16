"""The cpio writer, read back by a reader that follows the format's description."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.image.cpio import CpioWriter

Entry = tuple[int, int, int, bytes]  # mode, device major, minor, data


def read(archive: bytes) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    inodes = set()
    while True:
        assert archive[at : at + 6] == b"070701" and at % 4 == 0
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_end = at + 110 + fields[11]
        name = archive[at + 110 : name_end]
        assert name.endswith(b"\0")
        data_at = (name_end + 3) & ~3
        data = archive[data_at : data_at + fields[6]]
        assert len(data) == fields[6]
        at = (data_at + fields[6] + 3) & ~3
        if name == b"TRAILER!!!\0":
            assert at == len(archive)
            return entries
        assert fields[0] not in inodes
        inodes.add(fields[0])
        assert name[:-1].decode() not in entries
        entries[name[:-1].decode()] = (fields[1], fields[9], fields[10], data)


def test_every_kind_of_file() -> None:
    writer = CpioWriter()
    writer.file("/etc/deep/hostname", b"guest", 0o600)
    writer.symlink("bin/sh", "busybox")
    writer.character_device("dev/console", 5, 1)
    writer.directory("etc")
    entries = read(writer.finish())
    assert list(entries) == ["etc", "etc/deep", "etc/deep/hostname", "bin", "bin/sh", "dev", "dev/console"]
    assert entries["etc"] == (stat.S_IFDIR | 0o755, 0, 0, b"")
    assert entries["etc/deep/hostname"] == (stat.S_IFREG | 0o600, 0, 0, b"guest")
    assert entries["bin/sh"] == (stat.S_IFLNK | 0o777, 0, 0, b"busybox")
    assert entries["dev/console"] == (stat.S_IFCHR | 0o600, 5, 1, b"")


def test_two_files_of_one_name_are_a_mistake() -> None:
    writer = CpioWriter()
    writer.file("a", b"")
    with pytest.raises(ValueError, match="two files named a"):
        writer.symlink("a", "b")


names = st.text("abcdefgh", min_size=1, max_size=9)


@given(st.dictionaries(names, st.binary(max_size=40), max_size=8))
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    archives = []
    for _ in range(2):
        writer = CpioWriter()
        for name, data in files.items():
            writer.file(name, data)
        archives.append(writer.finish())
    assert archives[0] == archives[1]
    assert {name: entry[3] for name, entry in read(archives[0]).items()} == files
