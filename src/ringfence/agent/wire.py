"""The agent protocol's frames as the host writes and reads them; docs/design/agent.md specifies them.

A frame is a header of 8 bytes (length le32, stream le16, type u8, channel u8) and the payload. What comes is
a guest's word: `Parser` and the ``parse`` functions take any bytes, and say None to what is no frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

MAGIC = 0x47414652
VERSION = 1
#: Header and payload.
FRAME_MAX = 32768
STREAMS = 32
#: Bytes that may be under way on a stream to the guest, and on each of its channels from there.
INPUT_WINDOW = 128 << 10
OUTPUT_WINDOW = 256 << 10
ARGUMENTS_MAX = 1024

HEADER = struct.Struct("<IHBB")
DATA_MAX = FRAME_MAX - HEADER.size
_HELLO = struct.Struct("<IHHQ")
_EXEC = struct.Struct("<BBHHHH")
_RESIZE = struct.Struct("<HH")
_WINDOW = struct.Struct("<I")
_WRITE = struct.Struct("<IIQq")
_DONE = struct.Struct("<BxxxiIxxxxQ")
_RECORD = struct.Struct("<IIIHHQq")
_U32 = struct.Struct("<I")
_S64 = struct.Struct("<q")


class Type(IntEnum):
    HELLO = 1
    EXEC = 16
    SIGNAL = 17
    RESIZE = 18
    CANCEL = 19
    READ = 24
    WRITE = 25
    STAT = 26
    LIST = 27
    MAKE_DIRECTORY = 28
    SYMLINK = 29
    CLOCK = 32
    HOSTNAME = 33
    ENTROPY = 34
    SHUTDOWN = 35
    DATA = 48
    END = 49
    WINDOW = 50
    DONE = 64


IN, OUT, ERR = 0, 1, 2
EXEC_TTY, EXEC_INPUT = 1, 2
EXITED, KILLED, FAILED = 0, 1, 2


class Frame(NamedTuple):
    stream: int
    type: int
    channel: int
    payload: bytes


class Done(NamedTuple):
    """How a stream ended: ``value`` is an exit status, a signal or an errno, by ``how``."""

    how: int
    value: int
    crc: int = 0
    size: int = 0


class Record(NamedTuple):
    """A file, as lstat(2) has it."""

    mode: int
    uid: int
    gid: int
    size: int
    modified_ns: int
    name: str
    target: str


# -- to the guest --


def frame(stream: int, type: Type, payload: bytes = b"", channel: int = 0) -> bytes:
    return HEADER.pack(len(payload), stream, type, channel) + payload


def hello(nonce: int) -> bytes:
    return frame(0, Type.HELLO, _HELLO.pack(MAGIC, VERSION, 0, nonce))


def exec_request(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, user: str, size: tuple[int, int], flags: int
) -> bytes:
    """The payload of EXEC; the caller has checked that no string holds a NUL."""
    variables = [f"{name}={value}" for name, value in env.items()]
    strings = "".join(f"{text}\0" for text in (user, cwd, *argv, *variables))
    rows, columns = (side & 0xFFFF for side in size)
    head = _EXEC.pack(flags, 0, rows, columns, len(argv), len(variables))
    return head + strings.encode(errors="surrogateescape")


def resize(rows: int, columns: int) -> bytes:
    return _RESIZE.pack(rows & 0xFFFF, columns & 0xFFFF)


def window(n: int) -> bytes:
    return _WINDOW.pack(n)


def path(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def write_request(where: str, mode: int, size: int, modified_ns: int) -> bytes:
    return _WRITE.pack(mode, 0, size, modified_ns) + path(where)


def directory_request(where: str, mode: int) -> bytes:
    return _U32.pack(mode) + path(where)


def symlink_request(where: str, target: str) -> bytes:
    return path(where) + b"\0" + path(target)


def clock_request(now_ns: int) -> bytes:
    return _S64.pack(now_ns)


# -- from the guest --


class Parser:
    """Frames from bytes as they come, in pieces of any size; holds less than one frame between calls.

    After a length that no frame has, nothing can be told from the bytes any more: `is_lost`.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self.is_lost = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now."""
        waiting = self._waiting
        waiting += data
        at = 0
        try:
            while len(waiting) - at >= HEADER.size and not self.is_lost:
                length, stream, type, channel = HEADER.unpack_from(waiting, at)
                if length > DATA_MAX:
                    self.is_lost = True
                    break
                end = at + HEADER.size + length
                if end > len(waiting):
                    break
                payload = bytes(memoryview(waiting)[at + HEADER.size : end])
                at = end
                yield Frame(stream, type, channel, payload)
        finally:
            if self.is_lost:
                waiting.clear()
            else:
                del waiting[:at]


def parse_hello(payload: bytes) -> tuple[int, int] | None:
    """Its version and nonce."""
    if len(payload) < _HELLO.size:
        return None
    magic, version, _, nonce = _HELLO.unpack_from(payload)
    return (version, nonce) if magic == MAGIC else None


def parse_window(payload: bytes) -> int | None:
    return _WINDOW.unpack(payload)[0] if len(payload) == _WINDOW.size else None


def parse_done(payload: bytes) -> Done | None:
    if len(payload) < _DONE.size:
        return None
    done = Done(*_DONE.unpack_from(payload))
    return done if done.how in (EXITED, KILLED, FAILED) else None


def parse_records(payload: bytes) -> list[Record] | None:
    """What a frame of STAT or LIST holds."""
    records, at = [], 0
    while at < len(payload):
        if len(payload) - at < _RECORD.size:
            return None
        mode, uid, gid, name_length, target_length, size, modified_ns = _RECORD.unpack_from(payload, at)
        at += _RECORD.size
        end = at + name_length + target_length
        if end > len(payload):
            return None
        name, target = payload[at : at + name_length], payload[at + name_length : end]
        texts = (text.decode(errors="surrogateescape") for text in (name, target))
        records.append(Record(mode, uid, gid, size, modified_ns, *texts))
        at = end
    return records
