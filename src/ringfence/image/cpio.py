"""Writes cpio archives in the "newc" format that Linux unpacks as its initial RAM filesystem.

The format is in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: a
header of 13 eight-digit hexadecimal fields, the name, the data; each padded to four bytes.

The same calls give the same bytes: no owner, time or inode number of the host gets in. The
archive is left uncompressed, for the guest would pay for unpacking it in interpreted instructions.
"""

from __future__ import annotations

import stat
from io import BytesIO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


class CpioWriter:
    """Collects directories, files, links and device nodes; ``finish`` gives the archive."""

    def __init__(self) -> None:
        self._out = BytesIO()
        self._inode = 0
        self._names: set[str] = set()

    def directory(self, name: str, mode: int = 0o755) -> None:
        """Add a directory, and the directories above it. Adding it again changes nothing."""
        name = name.strip("/")
        parent = name.rpartition("/")[0]
        if parent:
            self.directory(parent)
        if name not in self._names:
            self._entry(name, stat.S_IFDIR | mode, nlink=2)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._leaf(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self._leaf(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._leaf(name, stat.S_IFCHR | mode, device=(major, minor))

    def finish(self) -> bytes:
        self._entry(_TRAILER, 0)
        return self._out.getvalue()

    def _leaf(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        name = name.strip("/")
        parent = name.rpartition("/")[0]
        if parent:
            self.directory(parent)
        if name in self._names:
            raise ValueError(f"two files named {name}")
        self._entry(name, mode, data, device)

    def _entry(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0), nlink: int = 1
    ) -> None:
        self._names.add(name)
        is_trailer = name == _TRAILER
        self._inode += 0 if is_trailer else 1
        path = name.encode() + b"\0"
        uid = gid = mtime = device_of_archive = check = 0
        fields = (
            0 if is_trailer else self._inode, mode, uid, gid, nlink, mtime, len(data),
            device_of_archive, device_of_archive, *device, len(path), check,
        )  # fmt: skip
        self._write(_MAGIC + b"".join(b"%08X" % field for field in fields) + path)
        self._write(data)

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._out.write(b"\0" * (-len(data) % 4))
