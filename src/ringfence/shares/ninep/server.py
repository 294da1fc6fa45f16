"""A 9P2000.L file server for one confined directory: the messages of virtio-9p, each answered at once.

What can't be understood is answered with EINVAL, what is not offered with EOPNOTSUPP. Locks are always
granted: a guest's kernel keeps its own processes apart before it asks.
"""

from __future__ import annotations

import errno
import struct
from collections import Counter

from ringfence.shares.directory import Directory
from ringfence.shares.message import Message
from ringfence.shares.ninep import wire
from ringfence.shares.ninep.fids import Fids
from ringfence.shares.ninep.files import Files
from ringfence.shares.ninep.names import Names
from ringfence.shares.ninep.request import Handler
from ringfence.shares.ninep.wire import Body, Type
from ringfence.shares.node import error_number, failure

#: A body without its data: a walk of many names is the longest.
BODY_BYTES_MAX = 32 << 10


class NinePServer:
    """Serves ``directory`` to one guest. ``counters`` has requests by name, and errors."""

    def __init__(self, directory: Directory) -> None:
        self.counters: Counter[str] = Counter()
        self._directory = directory
        self._fids = Fids(directory.nodes)
        self._message_bytes = 0
        names, files = Names(directory, self._fids), Files(directory, self._fids)
        self._handlers: dict[int, Handler] = {
            **names.handlers(),
            **files.handlers(),
            Type.VERSION: self._version,
            Type.FLUSH: self._flush,
        }

    def reset(self) -> None:
        """The guest is gone, or starts again."""
        self._fids.clear()
        self._directory.nodes.clear()
        self._message_bytes = 0

    def close(self) -> None:
        self.reset()
        self._directory.close()

    def serve(self, message: Message) -> int:
        """Answer one request; returns how long the answer is, 0 for none."""
        head = message.read(0, wire.HEADER.size)
        if len(head) < wire.HEADER.size:
            self.counters["malformed"] += 1
            return 0
        length, kind, tag = wire.HEADER.unpack(head)
        answer_kind = kind + 1 & 0xFF
        try:
            if length != message.readable_bytes:
                raise failure(errno.EINVAL)
            body = self._answer(kind, message)
        except OSError as error:
            body, answer_kind = wire.ERROR.pack(error_number(error)), wire.ERROR_ANSWER
            self.counters["errors"] += 1
        except (struct.error, ValueError, OverflowError):
            body, answer_kind = wire.ERROR.pack(errno.EINVAL), wire.ERROR_ANSWER
            self.counters["malformed"] += 1
        total = wire.HEADER.size + (body if isinstance(body, int) else len(body))
        if total > message.writable_bytes:
            body, answer_kind = wire.ERROR.pack(errno.EINVAL), wire.ERROR_ANSWER
            total = wire.HEADER.size + len(body)
        header = wire.HEADER.pack(total, answer_kind, tag)
        message.write(0, header + body if isinstance(body, bytes) else header)
        return min(total, message.writable_bytes)

    def _answer(self, kind: int, message: Message) -> bytes | int:
        handler = self._handlers.get(kind)
        if handler is None:
            raise failure(errno.EOPNOTSUPP)
        if not self._message_bytes and kind != Type.VERSION:
            raise failure(errno.EIO)
        self.counters[Type(kind).name.lower()] += 1
        return handler(Body(message.read(wire.HEADER.size, BODY_BYTES_MAX)), message)

    def _version(self, body: Body, message: Message) -> bytes:
        """A new session: what was before is forgotten."""
        size, version = body.integer(), body.string()
        self.reset()
        size = min(size, wire.MESSAGE_BYTES_MAX)
        if size < wire.MESSAGE_BYTES_MIN:
            raise failure(errno.EINVAL)
        is_ours = version == wire.VERSION
        self._message_bytes = size if is_ours else 0
        return wire.COUNT.pack(size) + wire.string(wire.VERSION if is_ours else b"unknown")

    def _flush(self, body: Body, message: Message) -> bytes:
        """Whatever it was, it is answered."""
        return b""
