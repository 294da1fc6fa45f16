"""A copy's end on the host: a tree of files goes into frames, or comes out of them.

What comes was named by a guest. It is written through descriptors of directories, opened without following
links, so that no name and no link that came before leads out of the copy; set-user-ID bits are left out.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

from ringfence.api import codec
from ringfence.api.frames import CHECKSUM, PAYLOAD_LIMIT, Channel, Duplex
from ringfence.api.messages import Entry
from ringfence.errors import AgentError, UserError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# -- to the guest --


def send(source: str | os.PathLike[str], open_put: Callable[[str], Duplex]) -> None:
    """Send a file, a link or a directory with all in it. ``open_put`` takes its name.

    Raises:
        UserError: it can't be read.
        AgentError: the guest could not take it.
    """
    root = Path(os.path.abspath(source))
    if not os.path.lexists(root):
        raise UserError(f"{source}: no such file or directory")
    duplex = open_put(root.name)
    try:
        try:
            _send_object(duplex, root, "")
        except OSError as error:
            raise UserError(f"{error.filename or source}: {error.strerror}") from error
        duplex.send(Channel.EOF, bytes([Channel.ENTRY]))
        _finish(duplex)
    finally:
        duplex.close()


def _send_object(duplex: Duplex, path: Path, name: str) -> None:
    found = path.lstat()
    mode, mtime_ns = stat.S_IMODE(found.st_mode), found.st_mtime_ns
    if stat.S_ISLNK(found.st_mode):
        entry = Entry(name, "link", mode, mtime_ns, target=os.readlink(path))
        duplex.send(Channel.ENTRY, codec.encode(entry))
    elif stat.S_ISREG(found.st_mode):
        _send_file(duplex, path, name)
    elif stat.S_ISDIR(found.st_mode):
        duplex.send(Channel.ENTRY, codec.encode(Entry(name, "directory", mode, mtime_ns)))
        for child in sorted(os.listdir(path)):
            _send_object(duplex, path / child, f"{name}/{child}" if name else child)


def _send_file(duplex: Duplex, path: Path, name: str) -> None:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        entry = Entry(name, "file", stat.S_IMODE(found.st_mode), found.st_mtime_ns, found.st_size)
        duplex.send(Channel.ENTRY, codec.encode(entry))
        left, crc = found.st_size, 0
        while left and (piece := file.read(min(left, PAYLOAD_LIMIT))):
            crc = zlib.crc32(piece, crc)
            left -= len(piece)
            duplex.send(Channel.DATA, piece)
        if left:
            raise UserError(f"{path}: it became shorter while it was copied")
        duplex.send(Channel.END, CHECKSUM.pack(crc))


def _finish(duplex: Duplex) -> None:
    """Wait for EXIT.

    Raises:
        AgentError: it says what went wrong.
    """
    while (frame := duplex.receive()) is not None:
        channel, payload = frame
        if channel is Channel.EXIT:
            return _check_exit(payload)
    raise AgentError("the copy was broken off")


def _check_exit(payload: bytes) -> None:
    exit = codec.decode_exit(payload)
    if exit.status:
        raise AgentError(exit.error or f"the copy failed with status {exit.status}")


# -- from the guest --


def receive(source: str, duplex: Duplex, target: str | os.PathLike[str]) -> None:
    """Write what ``duplex`` brings to ``target``, or into it where that is a directory.

    Args:
        source: its name in the guest, for the name in a directory.

    Raises:
        UserError: it can't be written.
        AgentError: the guest could not give it, or gave what is no tree.
    """
    path = Path(os.path.abspath(target))
    if path.is_dir():
        path = path / (os.path.basename(source.rstrip("/")) or "root")
    try:
        with _Writer(path) as writer:
            while (frame := duplex.receive()) is not None:
                channel, payload = frame
                if channel is Channel.EXIT:
                    return _check_exit(payload)
                writer.take(channel, payload)
        raise AgentError("the copy was broken off")
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or error}") from error
    finally:
        duplex.close()


class _Writer:
    """Puts entries below the directory that holds the copy's root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._file = -1
        self._folder = -1
        self._entry = Entry("", "file", 0)
        self._crc = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_file()
        os.close(self._top)

    def take(self, channel: Channel, payload: bytes) -> None:
        if channel is Channel.ENTRY and self._file < 0:
            self._begin(codec.decode_entry(payload))
        elif channel is Channel.DATA and self._file >= 0:
            self._crc = zlib.crc32(payload, self._crc)
            view = memoryview(payload)
            while view:
                view = view[os.write(self._file, view) :]
        elif channel is Channel.END and self._file >= 0:
            self._end_file(payload)
        else:
            raise AgentError("the guest's agent sends what is no tree of files")

    def _begin(self, entry: Entry) -> None:
        folder = self._open_folder(entry)
        name = self._name(entry)
        try:
            if entry.kind == "directory":
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700 | entry.mode & 0o777, dir_fd=folder)
            elif entry.kind == "link":
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
                        os.unlink(name, dir_fd=folder)
                os.symlink(entry.target, name, dir_fd=folder)
            else:
                self._file = os.open(_new_name(name), _NEW_FILE, 0o600, dir_fd=folder)
                self._folder, folder = folder, -1
                self._entry, self._crc = entry, 0
        finally:
            if folder >= 0:
                os.close(folder)

    def _name(self, entry: Entry) -> str:
        return entry.path.rpartition("/")[2] if entry.path else self._root.name

    def _open_folder(self, entry: Entry) -> int:
        """The directory that the entry lies in, reached without a link."""
        parts = [self._root.name, *entry.path.split("/")][:-1] if entry.path else []
        folder = os.dup(self._top)
        for part in parts:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=folder)
            finally:
                os.close(folder)
            folder = below
        return folder

    def _end_file(self, payload: bytes) -> None:
        name = self._name(self._entry)
        if len(payload) != CHECKSUM.size or CHECKSUM.unpack(payload)[0] != self._crc:
            raise AgentError(f"{self._entry.path or name}: damaged on its way out of the guest")
        os.fchmod(self._file, self._entry.mode & 0o777)
        with contextlib.suppress(OverflowError, OSError):
            os.utime(self._file, ns=(self._entry.mtime_ns, self._entry.mtime_ns))
        os.rename(_new_name(name), name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._close()

    def _drop_file(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.unlink(_new_name(self._name(self._entry)), dir_fd=self._folder)
            self._close()

    def _close(self) -> None:
        os.close(self._file)
        os.close(self._folder)
        self._file = self._folder = -1


def _new_name(name: str) -> str:
    return f".{name[:200]}.{os.getpid()}.new"
