"""A hostile guest's FUSE requests: it stays in its directory, and within its bounds."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from fake_kernel import FakeMessage, Kernel, Refused
from test_fuse import refusal

from ringfence.errors import UserError
from ringfence.shares import node as nodes
from ringfence.shares import syscalls
from ringfence.shares.directory import Directory
from ringfence.shares.fuse import handles, wire
from ringfence.shares.fuse.wire import Opcode

WRITES = os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "share/dir").mkdir(parents=True)
    (tmp_path / "share/file").write_text("public")
    (tmp_path / "share/up").symlink_to("..")
    (tmp_path / "share/out").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "share/fifo")
    return tmp_path / "share"


@pytest.fixture
def kernel(share: Path) -> Kernel:
    return Kernel(Directory(share))


NAMES = (b"", b".", b"..", b"../secret", b"dir/../..", b"/etc/passwd", b"dir/x")


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_out(kernel: Kernel, name: bytes) -> None:
    mode = struct.pack("<II", 0o700, 0)
    assert refusal(kernel.ask, Opcode.LOOKUP, 1, name + b"\0") == errno.EINVAL
    assert refusal(kernel.ask, Opcode.MKDIR, 1, mode + name + b"\0") == errno.EINVAL
    assert refusal(kernel.ask, Opcode.MKNOD, 1, mode + mode + name + b"\0") == errno.EINVAL
    assert refusal(kernel.ask, Opcode.UNLINK, 1, name + b"\0") == errno.EINVAL
    assert refusal(kernel.ask, Opcode.RMDIR, 1, name + b"\0") == errno.EINVAL
    assert refusal(kernel.ask, Opcode.SYMLINK, 1, name + b"\0x\0") == errno.EINVAL
    assert refusal(kernel.ask, Opcode.LINK, 1, struct.pack("<Q", kernel.walk("file").id) + name + b"\0")
    assert refusal(kernel.rename, 1, name, 1, b"x") == errno.EINVAL
    assert refusal(kernel.rename, 1, b"file", 1, name) == errno.EINVAL
    assert refusal(kernel.create, 1, name, os.O_RDWR, 0o600) == errno.EINVAL


@pytest.mark.parametrize("has_openat2", [False, True])
def test_no_link_is_followed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, has_openat2: bool) -> None:
    monkeypatch.setattr(syscalls, "HAS_OPENAT2", has_openat2 and syscalls.HAS_OPENAT2)
    up, out = kernel.walk("up"), kernel.walk("out")
    assert stat.S_ISLNK(up.mode) and stat.S_ISLNK(out.mode)
    assert refusal(kernel.lookup, up.id, b"secret") == errno.ENOTDIR
    assert refusal(kernel.open, out.id) == errno.EACCES
    assert refusal(kernel.ask, Opcode.OPENDIR, up.id, bytes(8)) == errno.ENOTDIR
    assert refusal(kernel.create, 1, b"out", os.O_RDWR, 0o600) in (errno.ELOOP, errno.EACCES)
    assert refusal(lambda: kernel.set_attributes(out.id, wire.FATTR_SIZE)) == errno.EACCES
    assert refusal(lambda: kernel.set_attributes(out.id, wire.FATTR_MODE)) == errno.EOPNOTSUPP
    assert (kernel.directory.nodes.root.fd >= 0) and refusal(kernel.read, 7, 0, 9) == errno.EBADF


def test_a_link_put_in_a_files_place_is_not_followed(kernel: Kernel, share: Path) -> None:
    file, folder = kernel.walk("file"), kernel.walk("dir")
    kernel.create(folder.id, b"x", os.O_WRONLY, 0o600)
    inner = kernel.walk("dir/x")
    (share / "file").rename(share / "aside")
    (share / "file").symlink_to(share.parent / "secret")
    (share / "dir").rename(share / "moved")
    (share / "dir").symlink_to(share.parent)
    assert refusal(kernel.open, file.id) == errno.ESTALE
    assert kernel.directory.status(kernel.directory.nodes.get(inner.id)).st_size == 0  # by what it holds open
    kernel.directory.nodes._close(kernel.directory.nodes.get(folder.id))
    assert refusal(kernel.open, inner.id) in (errno.ESTALE, errno.ELOOP)
    assert refusal(kernel.create, folder.id, b"planted", os.O_RDWR, 0o600) in (errno.ESTALE, errno.ELOOP)


def test_fifos_are_not_opened_and_devices_not_made(kernel: Kernel) -> None:
    assert refusal(kernel.open, kernel.walk("fifo").id) == errno.EACCES
    assert refusal(kernel.create, 1, b"fifo", os.O_RDWR, 0o600) == errno.EACCES
    for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFLNK):
        body = struct.pack("<IIII", kind | 0o666, os.makedev(1, 3), 0, 0) + b"node\0"
        assert refusal(kernel.ask, Opcode.MKNOD, 1, body) == errno.EPERM


def test_no_set_user_id(kernel: Kernel, share: Path) -> None:
    kernel.create(1, b"shell", os.O_WRONLY, 0o6755)
    kernel.ask(Opcode.MKNOD, 1, struct.pack("<IIII", stat.S_IFREG | 0o4755, 0, 0, 0) + b"other\0")
    kernel.set_attributes(kernel.walk("shell").id, wire.FATTR_MODE, mode=0o6755)
    assert not (share / "shell").stat().st_mode & 0o6000
    assert not (share / "other").stat().st_mode & 0o6000


def test_read_only_is_read_only(share: Path) -> None:
    kernel = Kernel(Directory(share, is_read_only=True))
    file = kernel.walk("file").id
    before = {path: path.lstat() for path in share.rglob("*")}
    assert kernel.read(kernel.open(file), 0, 99) == b"public"
    for flags in WRITES:
        assert refusal(kernel.open, file, flags) == errno.EROFS
    mode = struct.pack("<II", 0o700, 0)
    for opcode, body in (
        (Opcode.MKDIR, mode + b"x\0"),
        (Opcode.MKNOD, mode + mode + b"x\0"),
        (Opcode.UNLINK, b"file\0"),
        (Opcode.RMDIR, b"dir\0"),
        (Opcode.SYMLINK, b"x\0y\0"),
        (Opcode.LINK, struct.pack("<Q", file) + b"x\0"),
        (Opcode.RENAME, struct.pack("<Q", 1) + b"file\0x\0"),
        (Opcode.RENAME2, struct.pack("<QQ", 1, 0) + b"file\0x\0"),
    ):
        assert refusal(kernel.ask, opcode, 1, body) == errno.EROFS, opcode
    for valid in (wire.FATTR_MODE, wire.FATTR_UID, wire.FATTR_SIZE, wire.FATTR_MTIME):
        assert refusal(kernel.set_attributes, file, valid) == errno.EROFS
    handle = kernel.open(file)
    assert refusal(kernel.write, handle, 0, b"x") == errno.EBADF
    assert refusal(kernel.ask, Opcode.FALLOCATE, file, struct.pack("<QQQII", handle, 0, 9, 0, 0))
    assert refusal(lambda: kernel.set_attributes(file, wire.FATTR_SIZE | wire.FATTR_FH, fh=handle)) in (
        errno.EINVAL,
        errno.EBADF,
    )
    after = {path: path.lstat() for path in share.rglob("*")}
    assert [path.name for path in before] == [path.name for path in after]
    assert all(before[path].st_ctime_ns == after[path].st_ctime_ns for path in before)


def test_tables_have_an_end(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles.Handles.__init__, "__defaults__", (4,))
    monkeypatch.setattr(nodes.NodeTable.__init__, "__defaults__", (12, 4))
    kernel = Kernel(Directory(share))
    file = kernel.walk("file").id
    opened = [kernel.open(file) for _ in range(4)]
    assert refusal(kernel.open, file) == errno.ENFILE
    assert refusal(kernel.create, 1, b"new", os.O_RDWR, 0o600) == errno.ENFILE
    kernel.release(opened[0])
    kernel.open(file)
    for n in range(20):
        (share / f"{n}").mkdir()
    with pytest.raises(Refused, match="ENFILE"):
        for n in range(20):
            kernel.walk(f"{n}")
    assert len(kernel.directory.nodes) == 12
    kernel.release(opened[1])
    assert len(kernel.list(1)) > 20
    for number in range(2, 40):
        kernel.forget(number, 1 << 63)
    assert len(kernel.directory.nodes) == 1


def test_few_descriptors_for_many_directories(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes.NodeTable.__init__, "__defaults__", (1000, 4))
    kernel = Kernel(Directory(share))
    before = len(os.listdir("/proc/self/fd"))
    deep = "/".join(f"d{n}" for n in range(30))
    (share / deep).mkdir(parents=True)
    (share / deep / "file").write_text("x")
    for n in range(30):
        (share / f"e{n}").mkdir()
        (share / f"e{n}/file").write_text("x")
        assert kernel.read(kernel.open(kernel.walk(f"e{n}/file").id), 0, 1) == b"x"
    node = kernel.walk(f"{deep}/file").id
    for n in range(30):
        kernel.walk(f"e{n}/file")
    assert kernel.read(kernel.open(node), 0, 1) == b"x"
    assert len(os.listdir("/proc/self/fd")) <= before + 4 + 32
    kernel.server.close()
    kernel.server.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_forgetting_a_directory_keeps_the_way_to_its_files(kernel: Kernel, share: Path) -> None:
    (share / "dir/file").write_text("x")
    folder = kernel.walk("dir")
    file = kernel.lookup(folder.id, b"file")
    kernel.forget(folder.id)
    assert kernel.read(kernel.open(file.id), 0, 1) == b"x"
    kernel.forget(file.id)
    assert len(kernel.directory.nodes) == 1


def test_malformed_requests_are_answered(kernel: Kernel) -> None:
    for opcode in Opcode:
        if opcode in (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.INIT, Opcode.DESTROY):
            kernel.tell(opcode, 1, b"") if opcode in (2, 36, 42) else None
            continue
        for body in (b"", b"\0", b"x", b"\xff" * 3, b"\xff" * 200, b"\0" * 200):
            kernel.raw(opcode, 1, body)
            kernel.raw(opcode, 1, body, room=16)
            kernel.raw(opcode, 1 << 63, body)
    short = wire.IN_HEADER.pack(41, Opcode.GETATTR, 1, 1, 0, 0, 0, 0, 0)
    assert kernel.server.serve(FakeMessage(short)) == 16
    assert kernel.server.serve(FakeMessage(short[:39])) == 0
    assert kernel.server.serve(FakeMessage(short, room=15)) == 15
    assert kernel.walk("file").size == 6


def test_what_can_not_be_shared(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(UserError, match="can't share"):
            Directory(path)
