"""A copy into the guest: entries come as frames, and each is one request to the agent."""

from __future__ import annotations

import queue

from ringfence.agent import wire
from ringfence.agent.wire import Type
from ringfence.api import codec, frames
from ringfence.api.frames import BadFrame, Channel, Frame
from ringfence.api.messages import BadMessage, Entry, Exit, Put
from ringfence.errors import AgentError
from ringfence.vmm.agent.files import ANSWER_SECONDS, GuestFiles
from ringfence.vmm.agent.stream import Stream

FAILED_STATUS = 1


class PutFrames:
    """A `Duplex` that takes a tree: ENTRY, for a file DATA and END with its checksum, and EOF last.

    `send` waits for the guest. After the first failure the rest is taken and dropped, and EXIT says why.
    """

    def __init__(self, files: GuestFiles, request: Put) -> None:
        self._files = files
        self._root = request.path.rstrip("/") or "/"
        if files.is_directory(request.path) and request.name:
            self._root = f"{self._root.rstrip('/')}/{request.name}"
        self._file: Stream | None = None
        self._path = ""
        self._error = ""
        self._answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._is_over = False

    def send(self, channel: Channel, payload: bytes) -> None:
        """Raises:
        BadFrame: no frame of a copy.
        """
        if self._is_over:
            return
        if channel is Channel.EOF:
            self._finish()
        elif not self._error:
            try:
                self._take(channel, payload)
            except (AgentError, BadMessage) as error:
                self._error = str(error)
            except TimeoutError:
                self._error = f"{self._path}: the guest's agent does not answer"

    def receive(self) -> Frame | None:
        return self._answers.get()

    def close(self) -> None:
        self._is_over = True
        if self._file is not None:
            self._file.cancel()
        self._answers.put(None)

    def _take(self, channel: Channel, payload: bytes) -> None:
        if channel is Channel.ENTRY:
            self._begin(codec.decode_entry(payload))
        elif channel is Channel.DATA and self._file is not None:
            if not self._file.write(payload, ANSWER_SECONDS):
                self._files.finish(self._file, self._path)
        elif channel is Channel.END and self._file is not None and len(payload) == frames.CHECKSUM.size:
            self._end_file(frames.CHECKSUM.unpack(payload)[0])
        else:
            raise BadFrame(f"a copy takes no {channel.name} frame here")

    def _begin(self, entry: Entry) -> None:
        if self._file is not None:
            raise BadFrame("a file's end is missing")
        self._path = f"{self._root}/{entry.path}" if entry.path else self._root
        if entry.kind == "directory":
            if not self._files.is_directory(self._path):
                self._files.ask(
                    Type.MAKE_DIRECTORY, wire.directory_request(self._path, entry.mode), self._path
                )
        elif entry.kind == "link":
            self._files.ask(Type.SYMLINK, wire.symlink_request(self._path, entry.target), self._path)
        else:
            request = wire.write_request(self._path, entry.mode, entry.size, entry.mtime_ns)
            self._file = self._files.open(Type.WRITE, request)

    def _end_file(self, crc: int) -> None:
        assert self._file is not None
        stream, self._file = self._file, None
        stream.end_input()
        done = self._files.finish(stream, self._path)
        if done.crc != crc:
            raise AgentError(f"{self._path}: damaged on its way into the guest")

    def _finish(self) -> None:
        if self._file is not None:
            self._file.cancel()
        self._is_over = True
        exit = Exit(FAILED_STATUS if self._error else 0, error=self._error)
        self._answers.put((Channel.EXIT, codec.encode(exit)))
        self._answers.put(None)
