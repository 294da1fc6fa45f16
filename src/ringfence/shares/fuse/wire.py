"""FUSE's messages: numbers and layouts of the kernel's ``include/uapi/linux/fuse.h``, interface 7.31.

All fields are little-endian here, since both sides are x86.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum

MAJOR, MINOR = 7, 31
#: the oldest minor version whose structures are laid out as these
MINOR_MIN = 23


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47


#: Flags of INIT.
ASYNC_READ = 1 << 0
ATOMIC_O_TRUNC = 1 << 3
BIG_WRITES = 1 << 5
AUTO_INVAL_DATA = 1 << 12
DO_READDIRPLUS = 1 << 13
READDIRPLUS_AUTO = 1 << 14
PARALLEL_DIROPS = 1 << 18
ABORT_ERROR = 1 << 21
MAX_PAGES = 1 << 22
CACHE_SYMLINKS = 1 << 23

#: Which fields of SETATTR count.
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << n for n in range(7))
FATTR_ATIME_NOW, FATTR_MTIME_NOW = 1 << 7, 1 << 8

FOPEN_KEEP_CACHE = 1 << 1
WRITE_CACHE = 1 << 0
FSYNC_FDATASYNC = 1 << 0

IN_HEADER = struct.Struct("<IIQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
ATTR = struct.Struct("<6Q10I")
ENTRY_OUT = struct.Struct("<QQQQII")
ATTR_OUT = struct.Struct("<QII")
OPEN_OUT = struct.Struct("<QII")
WRITE_OUT = struct.Struct("<II")
STATFS_OUT = struct.Struct("<5Q4I24x")
LSEEK_OUT = struct.Struct("<Q")
DIRENT = struct.Struct("<QQII")

SETATTR_IN = struct.Struct("<I4xQQ8xQQQIIII4xII4x")
MKNOD_IN = struct.Struct("<I12x")
MKDIR_IN = struct.Struct("<I4x")
RENAME_IN = struct.Struct("<Q")
RENAME2_IN = struct.Struct("<QI4x")
LINK_IN = struct.Struct("<Q")
OPEN_IN = struct.Struct("<I4x")
CREATE_IN = struct.Struct("<II8x")
READ_IN = struct.Struct("<QQI20x")
WRITE_IN = struct.Struct("<QQII8xI4x")
RELEASE_IN = struct.Struct("<Q16x")
FSYNC_IN = struct.Struct("<QI4x")
FORGET_IN = struct.Struct("<Q")
BATCH_FORGET_IN = struct.Struct("<I4x")
FORGET_ONE = struct.Struct("<QQ")
FALLOCATE_IN = struct.Struct("<QQQI4x")
LSEEK_IN = struct.Struct("<QQI4x")
COPY_FILE_RANGE_IN = struct.Struct("<QQQQQQQ")

#: The most data of one read or write, and as pages of the guest.
PAGES_MAX = 256
DATA_BYTES_MAX = PAGES_MAX << 12
#: For how long a guest may believe what it was told.
VALID_S = 1
_U64 = (1 << 64) - 1
_NS_PER_S = 1_000_000_000


def attributes(status: os.stat_result, owner: tuple[int, int]) -> bytes:
    """``struct fuse_attr``."""
    times = [divmod(ns, _NS_PER_S) for ns in (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)]
    return ATTR.pack(
        status.st_ino,
        status.st_size,
        status.st_blocks,
        *(seconds & _U64 for seconds, _ in times),
        *(ns for _, ns in times),
        status.st_mode,
        min(status.st_nlink, 0xFFFF_FFFF),
        *owner,
        _device_number(status.st_rdev),
        min(status.st_blksize, 0xFFFF_FFFF),
        0,
    )


def _device_number(number: int) -> int:
    """As the kernel packs one into 32 bits: 12 of major, 20 of minor, the minor's upper 12 on top."""
    major, minor = os.major(number) & 0xFFF, os.minor(number) & 0xFFFFF
    return minor & 0xFF | major << 8 | (minor & 0xFFF00) << 12
