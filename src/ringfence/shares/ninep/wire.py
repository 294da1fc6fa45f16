"""9P2000.L's messages: numbers and layouts, from the protocol's description in diod's ``protocol.md``.

``size le32, type u8, tag le16``, then a body of integers, of strings (``length le16``, bytes) and of
qids (``type u8, version le32, path le64``), which name a file. An answer's type is its request's plus one.
"""

from __future__ import annotations

import os
import stat
import struct
from enum import IntEnum

VERSION = b"9P2000.L"
#: A message at most, and at least.
MESSAGE_BYTES_MAX = 512 << 10
MESSAGE_BYTES_MIN = 4096
NO_FID = 0xFFFF_FFFF


class Type(IntEnum):
    """Of requests."""

    STATFS = 8
    LOPEN = 12
    LCREATE = 14
    SYMLINK = 16
    MKNOD = 18
    RENAME = 20
    READLINK = 22
    GETATTR = 24
    SETATTR = 26
    READDIR = 40
    FSYNC = 50
    LOCK = 52
    GETLOCK = 54
    LINK = 70
    MKDIR = 72
    RENAMEAT = 74
    UNLINKAT = 76
    VERSION = 100
    ATTACH = 104
    FLUSH = 108
    WALK = 110
    READ = 116
    WRITE = 118
    CLUNK = 120
    REMOVE = 122


ERROR_ANSWER = 7

HEADER = struct.Struct("<IBH")
ERROR = struct.Struct("<I")
QID = struct.Struct("<BIQ")
ATTRIBUTES = struct.Struct("<Q13sIII15Q")
STATFS = struct.Struct("<IIQQQQQQI")
SETATTR = struct.Struct("<IIIIIQQQQQ")
COUNT = struct.Struct("<I")
TRANSFER = struct.Struct("<IQI")

SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME = (1 << n for n in range(6))
SET_ATIME_VALUE, SET_MTIME_VALUE = 1 << 7, 1 << 8
ATTRIBUTES_BASIC = 0x7FF
V9FS_MAGIC = 0x0102_1997
LOCK_GRANTED = 0
LOCK_TYPE_UNLOCKED = 2

_QID_DIRECTORY, _QID_LINK = 0x80, 0x02
_U64 = (1 << 64) - 1
_NS_PER_S = 1_000_000_000


class Body:
    """A request's body, taken apart from its start.

    Every method raises ValueError when the body is too short.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        if self._at + layout.size > len(self._data):
            raise ValueError("a message is cut short")
        fields = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return fields

    def integer(self, size_bytes: int = 4) -> int:
        return int.from_bytes(self._bytes(size_bytes), "little")

    def string(self) -> bytes:
        return self._bytes(self.integer(2))

    def _bytes(self, n: int) -> bytes:
        if self._at + n > len(self._data):
            raise ValueError("a message is cut short")
        self._at += n
        return self._data[self._at - n : self._at]


def string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "little") + text


def qid(status: os.stat_result) -> bytes:
    mode = status.st_mode
    kind = _QID_DIRECTORY if stat.S_ISDIR(mode) else _QID_LINK if stat.S_ISLNK(mode) else 0
    version = (status.st_mtime_ns ^ status.st_size) & 0xFFFF_FFFF
    return QID.pack(kind, version, status.st_ino & _U64)


def attributes(status: os.stat_result, owner: tuple[int, int]) -> bytes:
    """The answer to GETATTR."""
    all_ns = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    times = [part & _U64 for ns in all_ns for part in divmod(ns, _NS_PER_S)]
    return ATTRIBUTES.pack(
        *(ATTRIBUTES_BASIC, qid(status), status.st_mode, *owner),
        *(status.st_nlink, status.st_rdev, status.st_size, status.st_blksize, status.st_blocks),
        *times,
        *(0, 0, 0, 0),  # time of birth, generation, version: not said to be valid
    )
