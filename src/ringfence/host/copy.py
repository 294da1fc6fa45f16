"""Copying files and trees between this host and a guest, over a stream that `Put` or `Get` has opened.

What comes from a guest is not trusted: a path stays below the copy's root, each directory on the way is one
that this copy made or found as a directory, links are made and never followed, and a file loses its set-id
bits.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ringfence.api import codec
from ringfence.api.frames import CHECKSUM, PAYLOAD_LIMIT, Channel, Duplex
from ringfence.api.messages import Entry, Exit
from ringfence.errors import RingfenceError, UserError
from ringfence.host.client import Gone

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CopyFailed(RingfenceError):
    """A copy could not be made, or not all of it."""


@dataclass(slots=True)
class Copied:
    """What a copy moved."""

    files: int = 0
    data_bytes: int = 0


def put(stream: Duplex, source: Path) -> Copied:
    """Send a file or a tree.

    Raises:
        UserError: it can't be read.
        CopyFailed: the guest could not take it.
        Gone: the machine went away.
    """
    copied = Copied()
    try:
        for path, entry in walk(source):
            stream.send(Channel.ENTRY, codec.encode(entry))
            if entry.kind == "file":
                _send_file(stream, path, copied)
        stream.send(Channel.EOF, bytes([Channel.ENTRY]))
    except BrokenPipeError:
        pass  # the guest gave up, and says why
    _check(_receive_exit(stream))
    return copied


def walk(source: Path) -> Iterator[tuple[Path, Entry]]:
    """What is to be copied, parents first; sockets, pipes and devices are left out.

    Raises:
        UserError: something can't be read.
    """
    try:
        yield source, _describe("", source, source.stat())
        if source.is_dir():
            yield from _walk_below(source, "")
    except OSError as error:
        raise UserError(f"{error.filename or source}: {error.strerror}") from error


def _walk_below(directory: Path, prefix: str) -> Iterator[tuple[Path, Entry]]:
    for child in sorted(os.scandir(directory), key=lambda child: child.name):
        found = child.stat(follow_symlinks=False)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            continue
        path, name = directory / child.name, prefix + child.name
        yield path, _describe(name, path, found)
        if stat.S_ISDIR(found.st_mode):
            yield from _walk_below(path, name + "/")


def _describe(name: str, path: Path, found: os.stat_result) -> Entry:
    mode, mtime_ns = stat.S_IMODE(found.st_mode), found.st_mtime_ns
    if stat.S_ISDIR(found.st_mode):
        return Entry(name, "directory", mode, mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        return Entry(name, "link", mode, mtime_ns, target=os.readlink(path))
    if stat.S_ISREG(found.st_mode):
        return Entry(name, "file", mode, mtime_ns, size=found.st_size)
    raise UserError(f"{path}: neither a file nor a directory")


def _send_file(stream: Duplex, path: Path, copied: Copied) -> None:
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(PAYLOAD_LIMIT):
            checksum = zlib.crc32(data, checksum)
            stream.send(Channel.DATA, data)
            copied.data_bytes += len(data)
    stream.send(Channel.END, CHECKSUM.pack(checksum))
    copied.files += 1


def get(stream: Duplex, target: Path, name: str) -> Copied:
    """Receive a file or a tree: under its ``name`` where ``target`` is a directory, else as ``target``.

    Raises:
        UserError: it can't be written there.
        CopyFailed: the guest could not send it, or sends what is no copy.
        Gone: the machine went away.
    """
    if target.is_dir():
        target = target / name
    try:
        with Receiver(target) as receiver:
            while True:
                frame = stream.receive()
                if frame is None:
                    raise Gone("the machine went away in the middle of a copy")
                if frame[0] is Channel.EXIT:
                    _check(codec.decode_exit(frame[1]))
                    return receiver.copied
                receiver.take(*frame)
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror}") from error


class Receiver:
    """Writes what a guest sends below one root."""

    def __init__(self, root: Path) -> None:
        self.copied = Copied()
        self._name = root.name
        self._parent = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._file = -1
        self._entry = Entry("", "directory", 0)
        self._checksum = 0
        #: directories' modes and times, set when all is in them
        self._directories: list[Entry] = []

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_file()
        try:
            for entry in reversed(self._directories):
                self._finish_directory(entry)
        finally:
            os.close(self._parent)

    def take(self, channel: Channel, payload: bytes) -> None:
        """Raises:
        CopyFailed: the guest does not keep to the protocol.
        """
        if channel is Channel.ENTRY and self._file < 0:
            self._begin(codec.decode_entry(payload))
        elif channel is Channel.DATA and self._file >= 0:
            self._checksum = zlib.crc32(payload, self._checksum)
            view = memoryview(payload)
            while view:
                view = view[os.write(self._file, view) :]
            self.copied.data_bytes += len(payload)
        elif channel is Channel.END and self._file >= 0:
            self._finish_file(payload)
        elif channel is not Channel.EOF:
            raise CopyFailed(f"the guest sent {channel.name} in the wrong place of a copy")

    def _begin(self, entry: Entry) -> None:
        parent, name = self._open_parent(entry.path)
        try:
            if entry.kind == "directory":
                if not _is_directory(name, parent):
                    os.mkdir(name, 0o700, dir_fd=parent)
                self._directories.append(entry)
                return
            _unlink(name, parent)
            if entry.kind == "link":
                os.symlink(entry.target, name, dir_fd=parent)
            else:
                self._file = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
                self._entry, self._checksum = entry, 0
        finally:
            os.close(parent)

    def _finish_file(self, payload: bytes) -> None:
        if len(payload) != CHECKSUM.size or CHECKSUM.unpack(payload)[0] != self._checksum:
            raise CopyFailed(f"{self._entry.path or self._name}: the checksum is wrong")
        os.fchmod(self._file, self._entry.mode & 0o777)
        _set_time(self._file, self._entry)
        self._close_file()
        self.copied.files += 1

    def _finish_directory(self, entry: Entry) -> None:
        parent, name = self._open_parent(entry.path)
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            os.fchmod(fd, entry.mode & 0o777)
            _set_time(fd, entry)
            os.close(fd)
        finally:
            os.close(parent)

    def _open_parent(self, path: str) -> tuple[int, str]:
        """The directory that holds ``path``, opened step by step without following a link, and its name."""
        *folders, name = [self._name, *path.split("/")] if path else [self._name]
        fd = os.dup(self._parent)
        for folder in folders:
            try:
                below = os.open(folder, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd, name

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _is_directory(name: str, parent: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _unlink(name: str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _set_time(fd: int, entry: Entry) -> None:
    time_ns = min(max(entry.mtime_ns, 0), 1 << 62)
    os.utime(fd, ns=(time_ns, time_ns))


def _receive_exit(stream: Duplex) -> Exit:
    while (frame := stream.receive()) is not None:
        if frame[0] is Channel.EXIT:
            return codec.decode_exit(frame[1])
    raise Gone("the machine went away in the middle of a copy")


def _check(exit_: Exit) -> None:
    if exit_.status:
        raise CopyFailed(f"the guest could not copy: {exit_.error or f'status {exit_.status}'}")
