"""System calls that Python has no name for: openat2, getdents64, renameat2, utimensat, fallocate.

All take a directory's descriptor and a name of one component, and none follows a symbolic link.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
_AT_SYMLINK_NOFOLLOW = 0x100

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
#: in place of nanoseconds: the present time, or leave it alone
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2

#: seconds and nanoseconds
Times = tuple[int, int]

#: d_ino, d_off, d_reclen, d_type; then the name
_DIRENT = struct.Struct("<QqHB")


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64)]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.getdents64.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
_libc.getdents64.restype = ctypes.c_ssize_t
_libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_libc.utimensat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class DirectoryEntry(NamedTuple):
    """One name of a directory; ``next_offset`` is where the following one starts."""

    ino: int
    next_offset: int
    kind: int
    name: bytes


def _call(function: Any, *arguments: Any) -> int:
    """Call until no signal cuts in.

    Raises:
        OSError: as the system call says.
    """
    while True:
        result: int = function(*arguments)
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def _openat2(directory: int, name: bytes, flags: int, mode: int) -> int:
    how = _OpenHow(flags, mode, _RESOLVE)
    return _call(
        _libc.syscall,
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_long(directory),
        ctypes.c_char_p(name),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def _has_openat2() -> bool:
    """Linux 5.6 has it, unless a container's filter is older."""
    try:
        os.close(_openat2(-100, b".", os.O_PATH | os.O_CLOEXEC, 0))
    except OSError as error:
        return error.errno not in (errno.ENOSYS, errno.EPERM)
    return True


HAS_OPENAT2 = _has_openat2()


def open_beneath(directory: int, name: bytes, flags: int, mode: int = 0) -> int:
    """Open what ``name``, one component, stands for in ``directory``: itself, never what a link points to.

    Without openat2 it is openat, which for one component other than ``..`` keeps the same promise.

    Raises:
        OSError: the host refuses.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    if HAS_OPENAT2:
        return _openat2(directory, name, flags, mode)
    return os.open(name, flags, mode, dir_fd=directory)


def read_directory(fd: int, offset: int, n_bytes: int) -> Iterator[DirectoryEntry]:
    """Entries from ``offset``, 0 or an entry's ``next_offset``: as many as ``n_bytes`` of the host's hold.

    Raises:
        OSError: the host refuses, or there is no such offset.
    """
    os.lseek(fd, offset, os.SEEK_SET)
    buffer = ctypes.create_string_buffer(n_bytes)
    filled = _call(_libc.getdents64, fd, buffer, n_bytes)
    data = buffer.raw[:filled]
    at = 0
    while at < filled:
        ino, next_offset, length, kind = _DIRENT.unpack_from(data, at)
        name = data[at + _DIRENT.size : at + length].split(b"\0", 1)[0]
        yield DirectoryEntry(ino, next_offset, kind, name)
        at += length


def rename(from_fd: int, name: bytes, to_fd: int, new_name: bytes, flags: int) -> None:
    """renameat2(2).

    Raises:
        OSError: the host refuses.
    """
    _call(_libc.renameat2, from_fd, name, to_fd, new_name, flags)


def path_of(fd: int) -> bytes:
    """A path for what an O_PATH descriptor stands for, and for nothing else."""
    return b"/proc/self/fd/%d" % fd


def set_times(fd: int, accessed: Times, modified: Times) -> None:
    """Set both times of what an O_PATH descriptor stands for, each as seconds and nanoseconds, or with
    `UTIME_NOW` or `UTIME_OMIT` in place of the latter.

    Raises:
        OSError: the host refuses.
    """
    times = (_Timespec * 2)(_Timespec(*accessed), _Timespec(*modified))
    _call(_libc.utimensat, -1, path_of(fd), ctypes.byref(times), 0)


def set_times_of(directory: int, name: bytes, accessed: Times, modified: Times) -> None:
    """The same for a name.

    Raises:
        OSError: the host refuses.
    """
    times = (_Timespec * 2)(_Timespec(*accessed), _Timespec(*modified))
    _call(_libc.utimensat, directory, name, ctypes.byref(times), _AT_SYMLINK_NOFOLLOW)


def allocate(fd: int, mode: int, offset: int, n: int) -> None:
    """fallocate(2).

    Raises:
        OSError: the host refuses.
    """
    _call(_libc.fallocate, fd, mode, offset, n)
