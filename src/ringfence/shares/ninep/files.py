"""9P requests on open files: data goes straight between the host's file and guest RAM."""

from __future__ import annotations

import errno
import os
import stat

from ringfence.shares.directory import Directory
from ringfence.shares.message import Message
from ringfence.shares.ninep import wire
from ringfence.shares.ninep.fids import Fids
from ringfence.shares.ninep.request import Handler
from ringfence.shares.ninep.wire import Body, Type
from ringfence.shares.node import failure

_OFFSET_MAX = (1 << 63) - 1


class Files:
    """Answers to requests on a fid that is open, or to be opened."""

    def __init__(self, directory: Directory, fids: Fids) -> None:
        self._directory = directory
        self._fids = fids

    def handlers(self) -> dict[int, Handler]:
        return {
            Type.LOPEN: self.open,
            Type.LCREATE: self.create,
            Type.READ: self.read,
            Type.WRITE: self.write,
            Type.FSYNC: self.synchronize,
            Type.LOCK: self.lock,
            Type.GETLOCK: self.get_lock,
        }

    def open(self, body: Body, message: Message) -> bytes:
        fid, flags = self._fids.get(body.integer()), body.integer()
        self._fids.need_open_room(fid)
        is_directory = stat.S_ISDIR(self._directory.status(fid.node).st_mode)
        kind = os.O_DIRECTORY if is_directory else 0
        fd = self._directory.open(fid.node, flags & ~os.O_DIRECTORY | kind)
        self._fids.open(fid, fd, is_directory)
        return wire.qid(os.fstat(fd)) + wire.COUNT.pack(0)

    def create(self, body: Body, message: Message) -> bytes:
        """The fid, of the directory until now, is that of the new file."""
        fid, name = self._fids.get(body.integer()), body.string()
        flags, mode = body.integer(), body.integer()
        self._fids.need_open_room(fid)
        node, status, fd = self._directory.create(fid.node, name, flags, mode)
        self._directory.nodes.drop(fid.node)
        fid.node = node
        self._fids.open(fid, fd, False)
        return wire.qid(status) + wire.COUNT.pack(0)

    def read(self, body: Body, message: Message) -> bytes | int:
        number, offset, size = body.take(wire.TRANSFER)
        fid = self._fids.opened(number)
        head = wire.HEADER.size + wire.COUNT.size
        size = min(size, wire.MESSAGE_BYTES_MAX, max(0, message.writable_bytes - head))
        buffers = message.writable(head, size)
        done = os.preadv(fid.fd, buffers, offset) if buffers and offset <= _OFFSET_MAX else 0
        message.dirtied(head, done)
        message.write(wire.HEADER.size, wire.COUNT.pack(done))
        return wire.COUNT.size + done

    def write(self, body: Body, message: Message) -> bytes:
        number, offset, size = body.take(wire.TRANSFER)
        fid = self._fids.opened(number)
        start = wire.HEADER.size + wire.TRANSFER.size
        if size != message.readable_bytes - start or size > wire.MESSAGE_BYTES_MAX or offset > _OFFSET_MAX:
            raise failure(errno.EINVAL)
        buffers = message.readable(start, size)
        return wire.COUNT.pack(os.pwritev(fid.fd, buffers, offset) if buffers else 0)

    def synchronize(self, body: Body, message: Message) -> bytes:
        fid = self._fids.get(body.integer())
        if fid.fd < 0:
            raise failure(errno.EBADF)
        os.fsync(fid.fd)
        return b""

    def lock(self, body: Body, message: Message) -> bytes:
        self._fids.opened(body.integer())
        return bytes([wire.LOCK_GRANTED])

    def get_lock(self, body: Body, message: Message) -> bytes:
        """Nobody of ours is in the way."""
        self._fids.opened(body.integer())
        body.integer(1)
        start, length, process = body.integer(8), body.integer(8), body.integer()
        answer = bytes([wire.LOCK_TYPE_UNLOCKED]) + start.to_bytes(8, "little") + length.to_bytes(8, "little")
        return answer + process.to_bytes(4, "little") + wire.string(body.string())
