"""A FUSE server as a guest's kernel uses it: files, names, attributes, directories."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from fake_kernel import Kernel, Refused

from ringfence.shares.directory import Directory
from ringfence.shares.fuse import wire
from ringfence.shares.fuse.wire import Opcode


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    (tmp_path / "share").mkdir()
    return Kernel(Directory(tmp_path / "share"))


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share"


def refusal(call: object, *arguments: object) -> int:
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_init_says_what_is_spoken(kernel: Kernel) -> None:
    major, minor, _, flags = struct.unpack_from("<IIII", kernel.initialized)
    assert (major, minor) == (7, 31)
    assert len(kernel.initialized) == 64
    assert flags & wire.ATOMIC_O_TRUNC and not flags & 1 << 1  # no locks of the host's


def test_another_major_version_asks_again(kernel: Kernel) -> None:
    assert struct.unpack_from("<II", kernel.ask(Opcode.INIT, 0, wire.INIT_IN.pack(8, 0, 0, 0))) == (7, 31)
    assert refusal(kernel.lookup, 1, b"x") == errno.EIO
    assert refusal(kernel.ask, Opcode.INIT, 0, wire.INIT_IN.pack(7, 8, 0, 0)) == errno.EPROTO


def test_create_write_read(kernel: Kernel, share: Path) -> None:
    entry, handle = kernel.create(1, b"file", os.O_RDWR, 0o644)
    assert kernel.write(handle, 0, b"hello") == 5
    assert kernel.write(handle, 3, b"p!") == 2
    assert kernel.read(handle, 0, 100) == b"help!"
    assert kernel.read(handle, 5, 100) == b""
    kernel.release(handle)
    assert (share / "file").read_bytes() == b"help!"
    assert kernel.walk("file").id == entry.id
    assert refusal(kernel.read, handle, 0, 1) == errno.EBADF


def test_what_is_appended_lands_at_the_end(kernel: Kernel, share: Path) -> None:
    (share / "log").write_bytes(b"one")
    handle = kernel.open(kernel.walk("log").id, os.O_WRONLY | os.O_APPEND)
    (share / "log").write_bytes(b"four")
    kernel.write(handle, 3, b"!", os.O_APPEND)
    assert (share / "log").read_bytes() == b"four!"
    kernel.write(handle, 0, b"F", os.O_APPEND, wire.WRITE_CACHE)  # a mapped page
    assert (share / "log").read_bytes() == b"Four!"


def test_open_truncates(kernel: Kernel, share: Path) -> None:
    (share / "file").write_bytes(b"content")
    kernel.open(kernel.walk("file").id, os.O_WRONLY | os.O_TRUNC)
    assert (share / "file").read_bytes() == b""


def test_the_page_cache_is_kept_while_the_file_is_the_same(kernel: Kernel, share: Path) -> None:
    (share / "file").write_bytes(b"1")
    node = kernel.walk("file").id
    assert kernel.open_flags(node)[1] == 0
    assert kernel.open_flags(node)[1] == wire.FOPEN_KEEP_CACHE
    os.utime(share / "file", (1, 1))
    assert kernel.open_flags(node)[1] == 0


def test_names(kernel: Kernel, share: Path) -> None:
    kernel.ask(Opcode.MKDIR, 1, struct.pack("<II", 0o755, 0) + b"dir\0")
    folder = kernel.walk("dir")
    assert stat.S_ISDIR(folder.mode) and folder.owner == (0, 0)
    kernel.create(folder.id, b"a", os.O_WRONLY, 0o640)
    kernel.ask(Opcode.LINK, folder.id, struct.pack("<Q", kernel.walk("dir/a").id) + b"b\0")
    assert kernel.walk("dir/b").id == kernel.walk("dir/a").id and kernel.walk("dir/a").links == 2
    kernel.ask(Opcode.SYMLINK, 1, b"link\0../../etc/passwd\0")
    assert kernel.ask(Opcode.READLINK, kernel.walk("link").id) == b"../../etc/passwd"
    kernel.ask(Opcode.UNLINK, folder.id, b"a\0")
    assert refusal(kernel.ask, Opcode.RMDIR, 1, b"dir\0") == errno.ENOTEMPTY
    kernel.rename(folder.id, b"b", 1, b"c")
    kernel.ask(Opcode.RMDIR, 1, b"dir\0")
    assert sorted(path.name for path in share.iterdir()) == ["c", "link"]
    assert stat.S_IMODE((share / "c").stat().st_mode) == 0o640


def test_rename_in_all_its_forms(kernel: Kernel, share: Path) -> None:
    for name in "ab":
        (share / name).write_text(name)
    a, b = kernel.walk("a").id, kernel.walk("b").id
    assert refusal(kernel.rename, 1, b"a", 1, b"b", 1) == errno.EEXIST
    kernel.rename(1, b"a", 1, b"b", 2)
    assert (share / "a").read_text() == "b"
    assert (kernel.walk("a").id, kernel.walk("b").id) == (b, a)
    assert kernel.read(kernel.open(a), 0, 9) == b"a"
    assert refusal(kernel.rename, 1, b"a", 1, b"b", 4) == errno.EINVAL
    kernel.rename(1, b"a", 1, b"b")
    assert kernel.read(kernel.open(b), 0, 9) == b"b"
    assert [path.name for path in share.iterdir()] == ["b"]


def test_a_moved_directory_takes_its_files_along(kernel: Kernel, share: Path) -> None:
    (share / "old/deep").mkdir(parents=True)
    (share / "old/deep/file").write_text("x")
    file = kernel.walk("old/deep/file").id
    kernel.rename(1, b"old", 1, b"new")
    assert kernel.read(kernel.open(file), 0, 9) == b"x"


def test_a_removed_file_lives_while_it_is_used(kernel: Kernel, share: Path) -> None:
    entry, handle = kernel.create(1, b"temporary", os.O_RDWR, 0o600)
    kernel.ask(Opcode.UNLINK, 1, b"temporary\0")
    kernel.write(handle, 0, b"still here")
    assert kernel.set_attributes(entry.id, wire.FATTR_MODE, mode=0o400).size == 10
    assert kernel.set_attributes(entry.id, wire.FATTR_MTIME, mtime=7).links == 0
    assert kernel.read(handle, 6, 9) == kernel.read(kernel.open(entry.id), 6, 9) == b"here"
    kernel.release(handle)
    kernel.forget(entry.id)
    assert refusal(kernel.ask, Opcode.GETATTR, entry.id, bytes(16)) == errno.ESTALE


def test_attributes(kernel: Kernel, share: Path) -> None:
    (share / "file").write_bytes(b"123456")
    node = kernel.walk("file").id
    assert stat.S_IMODE(kernel.set_attributes(node, wire.FATTR_MODE, mode=0o6711).mode) == 0o711
    assert kernel.set_attributes(node, wire.FATTR_SIZE, size=3).size == 3
    kernel.set_attributes(node, wire.FATTR_MTIME | wire.FATTR_ATIME, mtime=(1 << 64) - 5, mtime_ns=9)
    assert (share / "file").stat().st_mtime_ns == -5_000_000_000 + 9
    assert (share / "file").stat().st_atime_ns == 0
    kernel.set_attributes(node, wire.FATTR_MTIME | wire.FATTR_MTIME_NOW)
    assert (share / "file").stat().st_mtime > 1e9 and (share / "file").stat().st_atime == 0
    kernel.set_attributes(node, wire.FATTR_UID | wire.FATTR_GID, uid=0, gid=0)
    assert refusal(lambda: kernel.set_attributes(node, wire.FATTR_UID, uid=1000)) == errno.EPERM
    bad_time = lambda: kernel.set_attributes(node, wire.FATTR_MTIME, mtime_ns=10**9)  # noqa: E731
    assert refusal(bad_time) == errno.EINVAL


def test_a_links_own_times(kernel: Kernel, share: Path) -> None:
    (share / "target").write_text("")
    os.utime(share / "target", (1, 1))
    (share / "link").symlink_to("target")
    kernel.set_attributes(kernel.walk("link").id, wire.FATTR_MTIME, mtime=99)
    assert (share / "target").stat().st_mtime == 1
    assert (share / "link").lstat().st_mtime == 99


@pytest.mark.parametrize("plus", [False, True])
def test_directories_are_read_in_pieces(kernel: Kernel, share: Path, plus: bool) -> None:
    names = {f"file-{n:03}-{'x' * (n % 50)}".encode() for n in range(300)}
    for name in names:
        (share / os.fsdecode(name)).touch()
    found = kernel.list(1, 1024, plus)
    assert set(found) == names | {b".", b".."}
    if plus:
        assert found[b"."] == found[b".."] == 0
        assert all(found[name] == kernel.lookup(1, name).id for name in list(names)[:20])


def test_what_is_above_the_share_has_no_number(kernel: Kernel, share: Path) -> None:
    handle = wire.OPEN_OUT.unpack(kernel.ask(Opcode.OPENDIR, 1, bytes(8)))[0]
    answer = kernel.ask(Opcode.READDIR, 1, struct.pack("<QQI20x", handle, 0, 4096))
    numbers = {answer[at + 24 : at + 26].rstrip(b"\0"): answer[at : at + 8] for at in (0, 32)}
    assert numbers[b"."] == numbers[b".."] == share.stat().st_ino.to_bytes(8, "little")


def test_holes_copies_and_space(kernel: Kernel, share: Path) -> None:
    (share / "file").write_bytes(b"data")
    node = kernel.walk("file").id
    handle = kernel.open(node, os.O_RDWR)
    _, copy = kernel.create(1, b"copy", os.O_RDWR, 0o600)
    copied = kernel.ask(Opcode.COPY_FILE_RANGE, node, struct.pack("<7Q", handle, 1, 1, copy, 0, 100, 0))
    assert wire.WRITE_OUT.unpack(copied)[0] == 3
    assert (share / "copy").read_bytes() == b"ata"
    kernel.ask(Opcode.FALLOCATE, node, struct.pack("<QQQII", handle, 0, 100, 0, 0))
    assert (share / "file").stat().st_size == 100
    end = kernel.ask(Opcode.LSEEK, node, struct.pack("<QQII", handle, 0, os.SEEK_END, 0))
    assert struct.unpack("<Q", end)[0] == 100
    kernel.ask(Opcode.FSYNC, node, struct.pack("<QII", handle, 1, 0))
    assert len(kernel.ask(Opcode.STATFS, 1)) == 80


def test_what_is_not_offered(kernel: Kernel) -> None:
    for opcode in (21, 22, 23, 24, 25, 31, 32, 33, 34, 37, 39, 40, 48, 49, 50, 51, 4096):
        assert refusal(kernel.ask, opcode, 1, bytes(64)) == errno.ENOSYS


def test_the_host_may_move_things(kernel: Kernel, share: Path) -> None:
    (share / "a").mkdir()
    (share / "a/file").write_text("x")
    file = kernel.walk("a/file").id
    (share / "a/file").rename(share / "elsewhere")
    assert refusal(kernel.open, file) == errno.ENOENT
    (share / "a/file").write_text("another")
    assert refusal(kernel.open, file) == errno.ESTALE
    assert kernel.walk("elsewhere").id == file
    assert kernel.read(kernel.open(file), 0, 9) == b"x"
