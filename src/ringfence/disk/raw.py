"""A raw disk image: byte n of the disk is byte n of a file or block device.

The image is locked with flock(2): for us alone when it is writable, together with other readers
when it is not. Refused: rounding an odd size up or down. One loses the guest's last sector and
the other shows it a sector that the file does not have.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence

from ringfence.disk.backend import SECTOR_BYTES
from ringfence.errors import DiskBusy, HostError, ImageError, UserError
from ringfence.units import MIB

_IOV_MAX = 1024
_FALLOC_KEEP_SIZE = 0x01
_FALLOC_PUNCH_HOLE = 0x02
_FALLOC_ZERO_RANGE = 0x10
_ZEROES = bytes(MIB)

_VectorCall = Callable[[int, Sequence[memoryview], int], int]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class RawDisk:
    """An open and locked image.

    Raises:
        ImageError: it is missing, empty, not a file, or its size is not a multiple of 512.
        UserError: it can't be opened or written.
        DiskBusy: another virtual machine has locked it.
    """

    def __init__(self, path: str | os.PathLike[str], is_read_only: bool = False) -> None:
        self.path = os.fspath(path)
        self.is_read_only = is_read_only
        self._fd = _open(self.path, is_read_only)
        try:
            self.size_bytes = _size(self._fd, self.path)
            _lock(self._fd, self.path, is_read_only)
        except BaseException:
            os.close(self._fd)
            raise

    def read(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._transfer(os.preadv, offset, buffers)

    def write(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._transfer(os.pwritev, offset, buffers)

    def flush(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._failed(error) from error

    def discard(self, offset: int, n: int) -> None:
        self._fallocate(_FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, offset, n)

    def write_zeroes(self, offset: int, n: int, may_unmap: bool) -> None:
        mode = _FALLOC_PUNCH_HOLE if may_unmap else _FALLOC_ZERO_RANGE
        if self._fallocate(mode | _FALLOC_KEEP_SIZE, offset, n):
            return
        while n > 0:
            piece = memoryview(_ZEROES)[:n]
            self.write(offset, [piece])
            offset += len(piece)
            n -= len(piece)

    def close(self) -> None:
        """Give the file and its lock back. Closing twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> RawDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _transfer(self, call: _VectorCall, offset: int, buffers: Sequence[memoryview]) -> None:
        """One system call as a rule; more when the kernel moves less than it was asked to."""
        left = list(buffers)
        while left:
            try:
                done = call(self._fd, left[:_IOV_MAX], offset)
            except OSError as error:
                raise self._failed(error) from error
            if done == 0:
                raise HostError(f"disk image {self.path!r} has become shorter than it was when opened")
            offset += done
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if done:
                left[0] = left[0][done:]

    def _fallocate(self, mode: int, offset: int, n: int) -> bool:
        """False when this file system does not know the mode."""
        while _libc.fallocate(self._fd, mode, offset, n) != 0:
            code = ctypes.get_errno()
            if code == errno.EOPNOTSUPP:
                return False
            if code != errno.EINTR:
                raise self._failed(OSError(code, os.strerror(code)))
        return True

    def _failed(self, error: OSError) -> HostError:
        return HostError(f"disk image {self.path!r}: {error.strerror}")


def _open(path: str, is_read_only: bool) -> int:
    # O_NONBLOCK: opening a fifo by mistake must not wait for its writer.
    flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if is_read_only else os.O_RDWR)
    try:
        return os.open(path, flags)
    except FileNotFoundError as error:
        raise ImageError(f"no disk image {path!r}") from error
    except IsADirectoryError as error:
        raise ImageError(f"disk image {path!r} is a directory") from error
    except OSError as error:
        hint = "" if is_read_only else " (add ,ro to use it read-only)"
        raise UserError(f"can't open disk image {path!r}: {error.strerror}{hint}") from error


def _size(fd: int, path: str) -> int:
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise ImageError(f"disk image {path!r} is neither a file nor a block device")
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
    except OSError as error:  # a file of /proc has no end
        raise ImageError(f"disk image {path!r} has no size: {error.strerror}") from error
    if size == 0:
        raise ImageError(f"disk image {path!r} is empty")
    if size % SECTOR_BYTES:
        raise ImageError(
            f"disk image {path!r} is {size} bytes, not a multiple of 512 (truncate -s %512 makes it one)"
        )
    return size


def _lock(fd: int, path: str, is_read_only: bool) -> None:
    kind = fcntl.LOCK_SH if is_read_only else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DiskBusy(f"disk image {path!r} is in use by another virtual machine") from error
    except OSError as error:
        raise UserError(f"can't lock disk image {path!r}: {error.strerror}") from error
