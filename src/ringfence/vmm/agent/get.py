"""A copy out of the guest: what the agent lists and reads, as entries in frames."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator

from ringfence.agent import wire
from ringfence.agent.wire import Record, Type
from ringfence.api import codec, frames
from ringfence.api.frames import BadFrame, Channel, Frame
from ringfence.api.messages import Entry, Exit, Get
from ringfence.errors import AgentError
from ringfence.vmm.agent.files import GuestFiles
from ringfence.vmm.agent.stream import Stream

#: Directories in directories: a guest's tree may be any, the host's stack is not.
DEPTH_MAX = 200
FAILED_STATUS = 1


class GetFrames:
    """A `Duplex` that gives a tree: ENTRY, for a file DATA and END with its checksum, and EXIT last.

    Only what the receiver asks for is read. What is neither file, directory nor link is left out.
    """

    def __init__(self, files: GuestFiles, request: Get) -> None:
        self._files = files
        self._stream: Stream | None = None
        self._is_over = False
        self._frames = self._copy(request.path.rstrip("/") or "/")

    def send(self, channel: Channel, payload: bytes) -> None:
        """Raises:
        BadFrame: always; there is nothing to send.
        """
        raise BadFrame("a copy out of the guest takes no frames")

    def receive(self) -> Frame | None:
        return None if self._is_over else next(self._frames, None)

    def close(self) -> None:
        self._is_over = True
        stream = self._stream
        if stream is not None:
            stream.cancel()

    def _copy(self, path: str) -> Iterator[Frame]:
        error = ""
        try:
            yield from self._object(path, "", self._files.stat(path), 0)
        except AgentError as failed:
            error = str(failed)
        yield Channel.EXIT, codec.encode(Exit(FAILED_STATUS if error else 0, error=error))

    def _object(self, path: str, name: str, record: Record, depth: int) -> Iterator[Frame]:
        kind = stat.S_IFMT(record.mode)
        mode = record.mode & 0o7777
        if kind == stat.S_IFLNK:
            yield _entry(Entry(name, "link", mode, record.modified_ns, target=record.target))
        elif kind == stat.S_IFREG:
            yield _entry(Entry(name, "file", mode, record.modified_ns, record.size))
            yield from self._file(path)
        elif kind == stat.S_IFDIR:
            if depth >= DEPTH_MAX:
                raise AgentError(f"{path}: directories {DEPTH_MAX} deep")
            yield _entry(Entry(name, "directory", mode, record.modified_ns))
            for child in self._files.names(path):
                below = f"{name}/{child.name}" if name else child.name
                yield from self._object(f"{path.rstrip('/')}/{child.name}", below, child, depth + 1)

    def _file(self, path: str) -> Iterator[Frame]:
        stream = self._stream = self._files.open(Type.READ, wire.path(path))
        crc = 0
        for piece in self._files.pieces(stream, path):
            crc = zlib.crc32(piece, crc)
            yield Channel.DATA, piece
        done = self._files.finish(stream, path)
        self._stream = None
        if done.crc != crc:
            raise AgentError(f"{path}: damaged on its way out of the guest")
        yield Channel.END, frames.CHECKSUM.pack(crc)


def _entry(entry: Entry) -> Frame:
    return Channel.ENTRY, codec.encode(entry)
