"""A 9P2000.L server as a guest's kernel uses it, and as a hostile one does."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from fake_kernel import FakeMessage, Refused

from ringfence.shares.directory import Directory
from ringfence.shares.ninep import fids, wire
from ringfence.shares.ninep.server import NinePServer
from ringfence.shares.ninep.wire import Type

ROOM = 1 << 16
SECRET = "secret"


def s(text: bytes) -> bytes:
    return wire.string(text)


def u32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


class Client:
    """A mounted file system. Fid 0 is its root; others are taken in turn."""

    def __init__(self, directory: Directory) -> None:
        self.server = NinePServer(directory)
        self.ask(Type.VERSION, u32(1 << 20) + s(wire.VERSION))
        self.ask(Type.ATTACH, u32(0, wire.NO_FID) + s(b"root") + s(b"") + u32(0))
        self._last = 0

    def raw(self, kind: int, body: bytes = b"", room: int = ROOM) -> tuple[int, bytes]:
        """The answer's error and body."""
        message = FakeMessage(wire.HEADER.pack(wire.HEADER.size + len(body), kind, 7) + body, room)
        total = self.server.serve(message)
        said, answer_kind, tag = wire.HEADER.unpack_from(message.answer)
        assert (said, tag) == (total, 7)
        answer = bytes(message.answer[wire.HEADER.size : total])
        if answer_kind == wire.ERROR_ANSWER:
            return wire.ERROR.unpack(answer)[0], b""
        assert answer_kind == kind + 1
        return 0, answer

    def ask(self, kind: int, body: bytes = b"", room: int = ROOM) -> bytes:
        code, answer = self.raw(kind, body, room)
        if code:
            raise Refused(code)
        return answer

    def walk(self, *names: bytes, fid: int = 0) -> int:
        """A new fid for a file; Refused with ENOENT when not all of the path is there."""
        self._last += 1
        body = u32(fid, self._last) + struct.pack("<H", len(names)) + b"".join(map(s, names))
        (count,) = struct.unpack_from("<H", self.ask(Type.WALK, body))
        if count < len(names):
            raise Refused(errno.ENOENT)
        return self._last

    def open(self, *names: bytes, flags: int = os.O_RDONLY) -> int:
        fid = self.walk(*names)
        self.ask(Type.LOPEN, u32(fid, flags))
        return fid

    def create(self, name: bytes, mode: int = 0o644) -> int:
        fid = self.walk()
        self.ask(Type.LCREATE, u32(fid) + s(name) + u32(os.O_RDWR, mode, 0))
        return fid

    def read(self, fid: int, offset: int = 0, size: int = 100) -> bytes:
        answer = self.ask(Type.READ, struct.pack("<IQI", fid, offset, size))
        (count,) = struct.unpack_from("<I", answer)
        assert count == len(answer) - 4
        return answer[4:]

    def write(self, fid: int, data: bytes, offset: int = 0) -> int:
        answer = self.ask(Type.WRITE, struct.pack("<IQI", fid, offset, len(data)) + data)
        return int.from_bytes(answer, "little")

    def list(self, *names: bytes, room: int = 512) -> list[bytes]:
        fid, offset, found = self.open(*names, flags=os.O_DIRECTORY), 0, []
        while data := self.ask(Type.READDIR, struct.pack("<IQI", fid, offset, room))[4:]:
            while data:
                offset = int.from_bytes(data[13:21], "little")
                length = int.from_bytes(data[22:24], "little")
                found.append(data[24 : 24 + length])
                data = data[24 + length :]
        return found

    def set_attributes(self, fid: int, valid: int, *values: int) -> None:
        self.ask(Type.SETATTR, wire.SETATTR.pack(fid, valid, *values, *[0] * (8 - len(values))))


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / SECRET).write_text(SECRET)
    (tmp_path / "share/dir").mkdir(parents=True)
    (tmp_path / "share/file").write_text("public")
    (tmp_path / "share/up").symlink_to("..")
    os.mkfifo(tmp_path / "share/fifo")
    return tmp_path / "share"


@pytest.fixture
def client(share: Path) -> Client:
    return Client(Directory(share))


def refusal(call: object, *arguments: object) -> int:
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_another_dialect(share: Path) -> None:
    server = Client(Directory(share))
    assert server.ask(Type.VERSION, u32(9000) + s(b"9P2000.u"))[4:] == s(b"unknown")
    assert refusal(server.walk) == errno.EIO
    assert refusal(server.ask, Type.VERSION, u32(100) + s(wire.VERSION)) == errno.EINVAL


def test_files(client: Client, share: Path) -> None:
    fid = client.create(b"new", 0o640)
    assert client.write(fid, b"hello") == 5 and client.read(fid, 1) == b"ello"
    assert stat.S_IMODE((share / "new").stat().st_mode) == 0o640
    client.ask(Type.FSYNC, u32(fid, 0))
    client.ask(Type.UNLINKAT, u32(0) + s(b"new") + u32(0))
    assert client.read(fid) == b"hello" and len(client.ask(Type.GETATTR, struct.pack("<IQ", fid, 1))) == 153
    client.ask(Type.CLUNK, u32(fid))
    assert refusal(client.read, fid) == errno.EBADF


def test_names(client: Client, share: Path) -> None:
    folder = client.walk(b"dir")
    client.ask(Type.MKDIR, u32(folder) + s(b"sub") + u32(0o755, 0))
    client.ask(Type.LINK, u32(folder, client.walk(b"file")) + s(b"second"))
    client.ask(Type.SYMLINK, u32(folder) + s(b"link") + s(b"/etc") + u32(0))
    assert client.ask(Type.READLINK, u32(client.walk(b"dir", b"link"))) == s(b"/etc")
    client.ask(Type.RENAMEAT, u32(folder) + s(b"second") + u32(0) + s(b"third"))
    moved = client.walk(b"third")
    client.ask(Type.RENAME, u32(moved, folder) + s(b"fourth"))
    assert (share / "dir/fourth").read_text() == "public"
    client.ask(Type.REMOVE, u32(client.walk(b"dir", b"sub")))
    client.ask(Type.REMOVE, u32(client.walk(b"dir", b"link")))
    assert sorted(client.list(b"dir")) == [b".", b"..", b"fourth"]
    assert refusal(client.ask, Type.UNLINKAT, u32(0) + s(b"dir") + u32(0x200)) == errno.ENOTEMPTY
    assert refusal(client.ask, Type.REMOVE, u32(client.walk())) == errno.EBUSY


def test_attributes(client: Client, share: Path) -> None:
    fid = client.walk(b"file")
    client.set_attributes(fid, wire.SET_MODE, 0o6711)
    client.set_attributes(fid, wire.SET_SIZE, 0, 0, 0, 3)
    client.set_attributes(fid, wire.SET_MTIME | wire.SET_MTIME_VALUE, 0, 0, 0, 0, 0, 0, 99, 5)
    status = (share / "file").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime_ns) == (0o711, 3, 99_000_000_005)
    assert refusal(client.set_attributes, fid, wire.SET_UID, 0, 5) == errno.EPERM
    assert len(client.ask(Type.STATFS, u32(fid))) == wire.STATFS.size


def test_locks_are_the_guests_own(client: Client) -> None:
    lock = bytes([1]) + u32(0) + bytes(16) + u32(1) + s(b"guest")
    assert client.ask(Type.LOCK, u32(client.open(b"file")) + lock) == b"\0"
    asked = bytes([1]) + bytes(16) + u32(1) + s(b"guest")
    assert client.ask(Type.GETLOCK, u32(client.open(b"file")) + asked) == b"\2" + asked[1:]


def test_directories_are_read_in_pieces(client: Client, share: Path) -> None:
    for n in range(200):
        (share / f"dir/name-{n}").touch()
    names = client.list(b"dir")
    assert len(names) == len(set(names)) == 202


@pytest.mark.parametrize("path", [[b"..", b"secret"], [b"dir", b"..", b"..", b"secret"], [b"up", b"secret"]])
def test_no_way_leads_out(client: Client, path: list[bytes]) -> None:
    assert refusal(lambda: client.walk(*path)) in (errno.ENOENT, errno.ENOTDIR)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"../secret", b"dir/x", b"/etc", b"x\0"])
def test_no_name_leads_out(client: Client, name: bytes) -> None:
    create = lambda: client.create(name)  # noqa: E731
    assert refusal(create) == errno.EINVAL
    assert refusal(client.ask, Type.MKDIR, u32(0) + s(name) + u32(0, 0)) == errno.EINVAL
    assert refusal(client.ask, Type.UNLINKAT, u32(0) + s(name) + u32(0)) == errno.EINVAL
    assert refusal(client.ask, Type.RENAMEAT, u32(0) + s(b"file") + u32(0) + s(name)) == errno.EINVAL


def test_what_is_not_opened(client: Client) -> None:
    for name in (b"up", b"fifo"):
        assert refusal(client.open, name) == errno.EACCES
    device = u32(0) + s(b"null") + u32(stat.S_IFCHR | 0o666, 1, 3, 0)
    assert refusal(client.ask, Type.MKNOD, device) == errno.EPERM


def test_read_only(share: Path) -> None:
    client = Client(Directory(share, is_read_only=True))
    assert client.read(client.open(b"file")) == b"public"
    assert refusal(lambda: client.open(b"file", flags=os.O_RDWR)) == errno.EROFS
    assert refusal(client.create, b"x") == errno.EROFS
    assert refusal(client.ask, Type.REMOVE, u32(client.walk(b"file"))) == errno.EROFS
    assert (share / "file").exists()


def test_tables_have_an_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fids, "FIDS_MAX", 10)
    monkeypatch.setattr(fids, "OPEN_MAX", 4)
    for _ in range(4):
        last = client.open(b"file")
    assert refusal(client.open, b"file") == errno.ENFILE
    assert refusal(client.create, b"new") == errno.ENFILE
    with pytest.raises(Refused, match="ENFILE"):
        for _ in range(10):
            client.walk()
    client.ask(Type.CLUNK, u32(last))
    client.server.close()
    client.server.close()


def test_no_reference_is_left(share: Path) -> None:
    directory = Directory(share)
    client = Client(directory)
    fid = client.walk(b"dir")
    with pytest.raises(Refused):
        client.walk(b"dir", b"nothing")
    client.ask(Type.WALK, u32(fid, fid) + struct.pack("<H", 1) + s(b".."))
    client.ask(Type.CLUNK, u32(fid))
    client.ask(Type.CLUNK, u32(client.create(b"dir2")))
    assert len(directory.nodes) == 1 and len(client.server._fids) == 1


def test_malformed_requests_are_answered(client: Client) -> None:
    for kind in range(256):
        for body in (b"", b"\0", b"\xff" * 9, b"\0" * 40, b"\xff" * 200):
            client.raw(kind, body)
            client.raw(kind, body, room=11)
    client.ask(Type.VERSION, u32(9000) + s(wire.VERSION))
    short = wire.HEADER.pack(8, Type.CLUNK, 1)
    assert client.server.serve(FakeMessage(short)) == 11
    assert client.server.serve(FakeMessage(short[:6])) == 0
    assert client.server.serve(FakeMessage(short, room=3)) == 3
