"""FUSE requests on open files: data goes straight between the host's file and guest RAM."""

from __future__ import annotations

import errno
import os

from ringfence.shares.directory import Directory
from ringfence.shares.fuse import wire
from ringfence.shares.fuse.handles import Handles
from ringfence.shares.fuse.request import Handler
from ringfence.shares.fuse.wire import Opcode
from ringfence.shares.message import Message
from ringfence.shares.node import Node, failure

#: One request's, which bounds its time.
COPY_BYTES_MAX = 16 << 20
_WHENCES = (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE)
_OFFSET_MAX = (1 << 63) - 1


class Files:
    """Answers to requests that a handle leads to."""

    def __init__(self, directory: Directory, handles: Handles) -> None:
        self._directory = directory
        self._handles = handles

    def handlers(self) -> dict[int, Handler]:
        return {
            Opcode.OPEN: self.open,
            Opcode.CREATE: self.create,
            Opcode.READ: self.read,
            Opcode.WRITE: self.write,
            Opcode.RELEASE: self.release,
            Opcode.FSYNC: self.synchronize,
            Opcode.OPENDIR: self.open_directory,
            Opcode.RELEASEDIR: self.release,
            Opcode.FSYNCDIR: self.synchronize_directory,
            Opcode.FALLOCATE: self.allocate,
            Opcode.LSEEK: self.seek,
            Opcode.COPY_FILE_RANGE: self.copy,
        }

    # -- opening --

    def open(self, node: Node, body: bytes, message: Message) -> bytes:
        (flags,) = wire.OPEN_IN.unpack_from(body)
        self._handles.need_room()
        fd = self._directory.open(node, flags & ~os.O_DIRECTORY)
        return self._opened(fd, node, os.fstat(fd))

    def open_directory(self, node: Node, body: bytes, message: Message) -> bytes:
        self._handles.need_room()
        fd = self._directory.open(node, os.O_DIRECTORY)
        return wire.OPEN_OUT.pack(self._handles.add(fd, node, True), 0, 0)

    def create(self, node: Node, body: bytes, message: Message) -> bytes:
        flags, mode = wire.CREATE_IN.unpack_from(body)
        name = body[wire.CREATE_IN.size :]
        if not name.endswith(b"\0"):
            raise failure(errno.EINVAL)
        self._handles.need_room()
        child, status, fd = self._directory.create(node, name[:-1], flags, mode)
        head = wire.ENTRY_OUT.pack(child.id, 0, wire.VALID_S, wire.VALID_S, 0, 0)
        attributes = wire.attributes(status, self._directory.guest_owner(status))
        return head + attributes + self._opened(fd, child, status)

    def _opened(self, fd: int, node: Node, status: os.stat_result) -> bytes:
        """What the guest has in its page cache still counts, if the file is as it was when it read it."""
        is_unchanged = node.version == status.st_ctime_ns
        node.version = status.st_ctime_ns
        flags = wire.FOPEN_KEEP_CACHE if is_unchanged else 0
        return wire.OPEN_OUT.pack(self._handles.add(fd, node), flags, 0)

    def release(self, node: Node, body: bytes, message: Message) -> bytes:
        (number,) = wire.RELEASE_IN.unpack_from(body)
        self._handles.close(number)
        return b""

    # -- data --

    def read(self, node: Node, body: bytes, message: Message) -> int:
        number, offset, size = wire.READ_IN.unpack_from(body)
        handle = self._handles.get(number)
        head = wire.OUT_HEADER.size
        buffers = message.writable(head, min(size, message.writable_bytes - head, wire.DATA_BYTES_MAX))
        if not buffers or offset > _OFFSET_MAX:
            return 0
        done = os.preadv(handle.fd, buffers, offset)
        message.dirtied(head, done)
        return done

    def write(self, node: Node, body: bytes, message: Message) -> bytes:
        number, offset, size, write_flags, flags = wire.WRITE_IN.unpack_from(body)
        handle = self._handles.get(number)
        start = wire.IN_HEADER.size + wire.WRITE_IN.size
        is_whole = size == message.readable_bytes - start and size <= wire.DATA_BYTES_MAX
        if not is_whole or offset > _OFFSET_MAX:
            raise failure(errno.EINVAL)
        buffers = message.readable(start, size)
        # A mapped page goes back to where it came from, though the file be open for appending.
        is_append = flags & os.O_APPEND and not write_flags & wire.WRITE_CACHE
        done = os.pwritev(handle.fd, buffers, offset, os.RWF_APPEND if is_append else 0) if buffers else 0
        return wire.WRITE_OUT.pack(done, 0)

    def synchronize(self, node: Node, body: bytes, message: Message) -> bytes:
        number, flags = wire.FSYNC_IN.unpack_from(body)
        fd = self._handles.get(number).fd
        if flags & wire.FSYNC_FDATASYNC:
            os.fdatasync(fd)
        else:
            os.fsync(fd)
        return b""

    def synchronize_directory(self, node: Node, body: bytes, message: Message) -> bytes:
        os.fsync(self._handles.get(wire.FSYNC_IN.unpack_from(body)[0], True).fd)
        return b""

    def allocate(self, node: Node, body: bytes, message: Message) -> bytes:
        number, offset, n, mode = wire.FALLOCATE_IN.unpack_from(body)
        self._directory.allocate(self._handles.get(number).fd, mode, offset, n)
        return b""

    def seek(self, node: Node, body: bytes, message: Message) -> bytes:
        number, offset, whence = wire.LSEEK_IN.unpack_from(body)
        if whence not in _WHENCES or offset > _OFFSET_MAX:
            raise failure(errno.EINVAL)
        return wire.LSEEK_OUT.pack(os.lseek(self._handles.get(number).fd, offset, whence))

    def copy(self, node: Node, body: bytes, message: Message) -> bytes:
        number, offset, _, to_number, to_offset, n, flags = wire.COPY_FILE_RANGE_IN.unpack_from(body)
        if flags or offset > _OFFSET_MAX or to_offset > _OFFSET_MAX:
            raise failure(errno.EINVAL)
        from_fd, to_fd = self._handles.get(number).fd, self._handles.get(to_number).fd
        done = os.copy_file_range(from_fd, to_fd, min(n, COPY_BYTES_MAX), offset, to_offset)
        return wire.WRITE_OUT.pack(done, 0)
