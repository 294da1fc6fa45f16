"""Files of the guest, one request each."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from ringfence.agent import wire
from ringfence.agent.wire import Done, Record, Type
from ringfence.errors import AgentError
from ringfence.vmm.agent.connection import Connection
from ringfence.vmm.agent.stream import Stream, failure

#: How long the agent may take over what needs no user's data.
ANSWER_SECONDS = 60.0
#: Names in one directory, and bytes of an answer that is kept whole.
ENTRIES_MAX = 1 << 20
ANSWER_BYTES_MAX = 128 << 20


class GuestFiles:
    """What the agent can do with files. Its errors are the guest's errno in one line."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, type: Type, payload: bytes) -> Stream:
        return self._connection.open(type, payload)

    def ask(self, type: Type, payload: bytes, what: str) -> None:
        """A request that is answered by its end.

        Raises:
            AgentError: the guest could not do it.
        """
        self.finish(self.open(type, payload), what)

    def finish(self, stream: Stream, what: str) -> Done:
        """Wait for a stream's end.

        Raises:
            AgentError: it failed.
        """
        try:
            done = stream.wait(ANSWER_SECONDS)
        except TimeoutError as error:
            stream.cancel()
            raise AgentError(f"{what}: the guest's agent does not answer") from error
        if done.how != wire.EXITED:
            raise AgentError(failure(stream, done, what))
        return done

    def stat(self, path: str) -> Record:
        """The object itself, not what a link points to.

        Raises:
            AgentError: there is none.
        """
        records = self._records(Type.STAT, path)
        if len(records) != 1:
            raise AgentError(f"{path}: the guest's agent gives no answer")
        return records[0]

    def names(self, path: str) -> list[Record]:
        """What a directory holds, by name.

        Raises:
            AgentError: it can't be read, or holds what no directory does.
        """
        records = self._records(Type.LIST, path)
        for record in records:
            if record.name in ("", ".", "..") or "/" in record.name or "\0" in record.name:
                raise AgentError(f"{path}: the guest's agent gives the name {record.name[:40]!r}")
        return sorted(records, key=lambda record: record.name)

    def is_directory(self, path: str) -> bool:
        """There is a directory, or a link to one."""
        try:
            return stat.S_ISDIR(self.stat(f"{path}/.").mode)
        except AgentError:
            return False

    def write(self, path: str, mode: int, data: bytes) -> None:
        """A small file in one piece."""
        stream = self.open(Type.WRITE, wire.write_request(path, mode, len(data), -1))
        stream.submit(data)
        stream.end_input()
        self.finish(stream, path)

    def _records(self, type: Type, path: str) -> list[Record]:
        stream = self.open(type, wire.path(path))
        answer = bytearray()
        for piece in self.pieces(stream, path):
            answer += piece
            if len(answer) > ANSWER_BYTES_MAX:
                stream.cancel()
                raise AgentError(f"{path}: more than can be listed")
        self.finish(stream, path)
        records = wire.parse_records(bytes(answer))
        if records is None or len(records) > ENTRIES_MAX:
            raise AgentError(f"{path}: the guest's agent gives no list")
        return records

    def pieces(self, stream: Stream, what: str) -> Iterator[bytes]:
        """All that a stream brings.

        Raises:
            AgentError: the guest sends nothing for too long.
        """
        try:
            while piece := stream.read(wire.OUT, wire.DATA_MAX, ANSWER_SECONDS):
                yield piece
        except TimeoutError as error:
            stream.cancel()
            raise AgentError(f"{what}: the guest's agent does not answer") from error
