"""The guest's side of FUSE: builds requests as a kernel does, and takes answers apart."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass

from ringfence.shares.directory import Directory
from ringfence.shares.fuse import wire
from ringfence.shares.fuse.server import FuseServer
from ringfence.shares.fuse.wire import Opcode

ROOM = 1 << 17


class FakeMessage:
    """A request in one buffer, and room for its answer in another."""

    def __init__(self, request: bytes, room: int = ROOM) -> None:
        self._request = memoryview(request)
        self.answer = bytearray(room)
        self.readable_bytes = len(request)
        self.writable_bytes = room

    def read(self, offset: int, n: int) -> bytes:
        return bytes(self._request[offset : offset + n])

    def write(self, offset: int, data: bytes) -> int:
        data = data[: max(0, self.writable_bytes - offset)]
        self.answer[offset : offset + len(data)] = data
        return len(data)

    def readable(self, offset: int, n: int) -> list[memoryview]:
        return [view] if len(view := self._request[offset : offset + n]) else []

    def writable(self, offset: int, n: int) -> list[memoryview]:
        return [view] if len(view := memoryview(self.answer)[offset : offset + n]) else []

    def dirtied(self, offset: int, n: int) -> None:
        assert offset + n <= self.writable_bytes


class Refused(Exception):
    """The server's answer is an error."""

    def __init__(self, code: int) -> None:
        super().__init__(errno.errorcode.get(code, str(code)))
        self.code = code


@dataclass
class Entry:
    """What a lookup tells."""

    id: int
    size: int
    mode: int
    links: int
    owner: tuple[int, int]


def entry(answer: bytes) -> Entry:
    number = wire.ENTRY_OUT.unpack_from(answer)[0]
    return attributes(answer, number, wire.ENTRY_OUT.size)


def attributes(answer: bytes, number: int = 0, at: int = wire.ATTR_OUT.size) -> Entry:
    fields = wire.ATTR.unpack_from(answer, at)
    return Entry(number, fields[1], fields[9], fields[10], (fields[11], fields[12]))


class Kernel:
    """A mounted file system; paths are resolved by one lookup a component."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.server = FuseServer(directory)
        self._unique = 0
        self.initialized = self.ask(Opcode.INIT, 0, wire.INIT_IN.pack(7, 37, 1 << 17, (1 << 32) - 1))

    def raw(self, opcode: int, node: int, body: bytes = b"", room: int = ROOM) -> tuple[int, bytes]:
        """The answer's error and body."""
        self._unique += 1
        length = wire.IN_HEADER.size + len(body)
        message = FakeMessage(
            wire.IN_HEADER.pack(length, opcode, self._unique, node, 0, 0, 1, 0, 0) + body, room
        )
        total = self.server.serve(message)
        said, error, unique = wire.OUT_HEADER.unpack_from(message.answer)
        assert (said, unique) == (total, self._unique)
        return -error, bytes(message.answer[wire.OUT_HEADER.size : total])

    def ask(self, opcode: int, node: int, body: bytes = b"", room: int = ROOM) -> bytes:
        code, answer = self.raw(opcode, node, body, room)
        if code:
            raise Refused(code)
        return answer

    def tell(self, opcode: int, node: int, body: bytes) -> None:
        """What has no answer."""
        length = wire.IN_HEADER.size + len(body)
        assert (
            self.server.serve(FakeMessage(wire.IN_HEADER.pack(length, opcode, 0, node, *[0] * 5) + body)) == 0
        )

    # -- requests --

    def lookup(self, node: int, name: bytes) -> Entry:
        found = entry(self.ask(Opcode.LOOKUP, node, name + b"\0"))
        if found.id == 0:
            raise Refused(errno.ENOENT)
        return found

    def walk(self, path: str) -> Entry:
        node = Entry(1, 0, 0, 0, (0, 0))
        for name in os.fsencode(path).split(b"/"):
            node = self.lookup(node.id, name)
        return node

    def open(self, node: int, flags: int = os.O_RDONLY) -> int:
        return self.open_flags(node, flags)[0]

    def open_flags(self, node: int, flags: int = os.O_RDONLY) -> tuple[int, int]:
        handle, open_flags, _ = wire.OPEN_OUT.unpack(
            self.ask(Opcode.OPEN, node, struct.pack("<II", flags, 0))
        )
        return handle, open_flags

    def create(self, node: int, name: bytes, flags: int, mode: int) -> tuple[Entry, int]:
        answer = self.ask(Opcode.CREATE, node, struct.pack("<IIII", flags, mode, 0, 0) + name + b"\0")
        return entry(answer), wire.OPEN_OUT.unpack_from(answer, wire.ENTRY_OUT.size + wire.ATTR.size)[0]

    def read(self, handle: int, offset: int, size: int, node: int = 1) -> bytes:
        return self.ask(Opcode.READ, node, struct.pack("<QQIIQII", handle, offset, size, 0, 0, 0, 0))

    def write(self, handle: int, offset: int, data: bytes, flags: int = 0, write_flags: int = 0) -> int:
        head = struct.pack("<QQIIQII", handle, offset, len(data), write_flags, 0, flags, 0)
        done: int = wire.WRITE_OUT.unpack(self.ask(Opcode.WRITE, 1, head + data))[0]
        return done

    def release(self, handle: int) -> None:
        self.ask(Opcode.RELEASE, 1, struct.pack("<QIIQ", handle, 0, 0, 0))

    def forget(self, node: int, n: int = 1) -> None:
        self.tell(Opcode.FORGET, node, struct.pack("<Q", n))

    def set_attributes(self, node: int, valid: int, **fields: int) -> Entry:
        order = ("fh", "size", "lock", "atime", "mtime", "ctime")
        small = ("atime_ns", "mtime_ns", "ctime_ns", "mode", "unused", "uid", "gid", "unused2")
        body = struct.pack("<II", valid, 0)
        body += struct.pack("<6Q", *(fields.get(name, 0) for name in order))
        body += struct.pack("<8I", *(fields.get(name, 0) for name in small))
        return attributes(self.ask(Opcode.SETATTR, node, body))

    def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int = 0) -> None:
        names = name + b"\0" + new_name + b"\0"
        self.ask(Opcode.RENAME2, parent, struct.pack("<QII", new_parent, flags, 0) + names)

    def list(self, node: int, room: int = 4096, plus: bool = True) -> dict[bytes, int]:
        """All names of a directory, with the nodes that they are."""
        handle = wire.OPEN_OUT.unpack(self.ask(Opcode.OPENDIR, node, bytes(8)))[0]
        found: dict[bytes, int] = {}
        offset = 0
        each = wire.ENTRY_OUT.size + wire.ATTR.size if plus else 0
        opcode = Opcode.READDIRPLUS if plus else Opcode.READDIR
        for _ in range(10_000):
            answer = self.ask(opcode, node, struct.pack("<QQIIQII", handle, offset, room, *[0] * 4))
            if not answer:
                self.ask(Opcode.RELEASEDIR, node, struct.pack("<QIIQ", handle, 0, 0, 0))
                return found
            at = 0
            while at < len(answer):
                number = wire.ENTRY_OUT.unpack_from(answer, at)[0] if plus else 0
                _, offset, length, _ = wire.DIRENT.unpack_from(answer, at + each)
                at += each + wire.DIRENT.size
                name = answer[at : at + length]
                assert name not in found
                found[name] = number
                at += length + -length % 8
        raise AssertionError("the directory has no end")
