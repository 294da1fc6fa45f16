"""Reads a kernel, initrd or ROM from the host's disk, and refuses what can't be one."""

from __future__ import annotations

import stat
from pathlib import Path

from ringfence.errors import ImageError


def read_image(path: Path, what: str, limit_bytes: int) -> bytes:
    """The file's content.

    Args:
        what: "kernel", "initrd": for messages.
        limit_bytes: more than this has no room in the machine.

    Raises:
        ImageError: missing, not a regular file, empty, or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{what} {str(path)!r} is not a regular file")
        if status.st_size > limit_bytes:
            raise ImageError(
                f"{what} {str(path)!r} does not fit in memory: {_mib(status.st_size)} MiB, "
                f"and there is room for {limit_bytes >> 20} MiB"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"can't read {what} {str(path)!r}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"can't read {what} {str(path)!r}: {error}") from error
    if not data:
        raise ImageError(f"{what} {str(path)!r} is empty")
    return data


def _mib(size_bytes: int) -> int:
    return -(-size_bytes >> 20)
