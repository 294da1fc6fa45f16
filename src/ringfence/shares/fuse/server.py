"""A FUSE file server for one confined directory: the messages of virtiofs, each answered at once.

A request is a header, a body of fixed layout and perhaps names or data; an answer is a header and a body.
What can't be understood is answered with EINVAL, what is not offered with ENOSYS, after which a guest's
kernel does without. Extended attributes are among these, and locks: the guest keeps those itself, among its
own processes.
"""

from __future__ import annotations

import errno
import struct
from collections import Counter

from ringfence.shares.directory import Directory
from ringfence.shares.fuse import wire
from ringfence.shares.fuse.files import Files
from ringfence.shares.fuse.handles import Handles
from ringfence.shares.fuse.names import Names
from ringfence.shares.fuse.request import Handler
from ringfence.shares.fuse.wire import Opcode
from ringfence.shares.message import Message
from ringfence.shares.node import error_number, failure

#: A body with its names; a symbolic link's target is the longest, or a batch of forgets.
BODY_BYTES_MAX = 64 << 10

_OFFERED = (
    wire.ASYNC_READ
    | wire.ATOMIC_O_TRUNC
    | wire.BIG_WRITES
    | wire.AUTO_INVAL_DATA
    | wire.DO_READDIRPLUS
    | wire.READDIRPLUS_AUTO
    | wire.PARALLEL_DIROPS
    | wire.ABORT_ERROR
    | wire.MAX_PAGES
    | wire.CACHE_SYMLINKS
)


class FuseServer:
    """Serves ``directory`` to one guest. ``counters`` has requests by name, and errors."""

    def __init__(self, directory: Directory) -> None:
        self.counters: Counter[str] = Counter()
        self._directory = directory
        self._handles = Handles()
        self._is_ready = False
        names, files = Names(directory, self._handles), Files(directory, self._handles)
        self._handlers: dict[int, Handler] = {**names.handlers(), **files.handlers()}

    def reset(self) -> None:
        """The guest is gone, or starts again."""
        self._is_ready = False
        self._handles.clear()
        self._directory.nodes.clear()

    def close(self) -> None:
        self.reset()
        self._directory.close()

    def serve(self, message: Message) -> int:
        """Answer one request; returns how long the answer is, 0 for none."""
        head = message.read(0, wire.IN_HEADER.size)
        if len(head) < wire.IN_HEADER.size:
            self.counters["malformed"] += 1
            return 0
        length, opcode, unique, number = wire.IN_HEADER.unpack(head)[:4]
        if opcode in (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT):
            self._forget(opcode, number, message)
            return 0
        try:
            if length != message.readable_bytes or message.writable_bytes < wire.OUT_HEADER.size:
                raise failure(errno.EINVAL)
            body = self._answer(opcode, number, message)
            code = 0
        except OSError as error:
            body, code = b"", error_number(error)
            self.counters["errors"] += 1
        except (struct.error, ValueError, OverflowError):
            body, code = b"", errno.EINVAL
            self.counters["malformed"] += 1
        placed = body if isinstance(body, int) else len(body)
        total = wire.OUT_HEADER.size + placed
        if total > message.writable_bytes:
            body, code, total = b"", errno.EINVAL, wire.OUT_HEADER.size
        header = wire.OUT_HEADER.pack(total, -code, unique)
        message.write(0, header + body if isinstance(body, bytes) else header)
        return min(total, message.writable_bytes)

    def _answer(self, opcode: int, number: int, message: Message) -> bytes | int:
        body = message.read(wire.IN_HEADER.size, BODY_BYTES_MAX)
        if opcode == Opcode.INIT:
            return self._init(body)
        if not self._is_ready:
            raise failure(errno.EIO)
        if opcode == Opcode.DESTROY:
            self.reset()
            return b""
        handler = self._handlers.get(opcode)
        if handler is None:
            raise failure(errno.ENOSYS)
        self.counters[Opcode(opcode).name.lower()] += 1
        return handler(self._directory.nodes.get(number), body, message)

    def _init(self, body: bytes) -> bytes:
        major, minor, read_ahead, flags = wire.INIT_IN.unpack_from(body)
        self.reset()
        if major != wire.MAJOR or minor < wire.MINOR_MIN:
            # A newer major asks again when it has seen ours; what is older is not spoken.
            if major <= wire.MAJOR:
                raise failure(errno.EPROTO)
        else:
            self._is_ready = True
        return wire.INIT_OUT.pack(
            *(wire.MAJOR, wire.MINOR, read_ahead, flags & _OFFERED, 0, 0),
            *(wire.DATA_BYTES_MAX, 1, wire.PAGES_MAX, 0, 0),
        )

    def _forget(self, opcode: int, number: int, message: Message) -> None:
        """The guest gives references back; nobody waits for an answer."""
        body = message.read(wire.IN_HEADER.size, BODY_BYTES_MAX)
        pairs: list[tuple[int, int]] = []
        if opcode == Opcode.FORGET and len(body) >= wire.FORGET_IN.size:
            pairs = [(number, *wire.FORGET_IN.unpack_from(body))]
        elif opcode == Opcode.BATCH_FORGET and len(body) >= wire.BATCH_FORGET_IN.size:
            (count,) = wire.BATCH_FORGET_IN.unpack_from(body)
            body = body[wire.BATCH_FORGET_IN.size :]
            count = min(count, len(body) // wire.FORGET_ONE.size)
            pairs = list(wire.FORGET_ONE.iter_unpack(body[: count * wire.FORGET_ONE.size]))
        nodes = self._directory.nodes
        for node_number, n in pairs:
            if node_number != nodes.root.id and (node := nodes.find_id(node_number)) is not None:
                nodes.drop(node, n)
