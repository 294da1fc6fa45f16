"""9P requests on names and attributes: walk, making, removing, renaming, reading directories."""

from __future__ import annotations

import errno
import os
import stat

from ringfence.shares import syscalls
from ringfence.shares.directory import Directory, time_to_set
from ringfence.shares.message import Message
from ringfence.shares.ninep import wire
from ringfence.shares.ninep.fids import Fids
from ringfence.shares.ninep.request import Handler
from ringfence.shares.ninep.wire import Body, Type
from ringfence.shares.node import Node, failure

#: The protocol's own (MAXWELEM).
WALK_MAX = 16
LISTING_BYTES_MAX = 64 << 10
_AT_REMOVEDIR = 0x200


class Names:
    """Answers to requests that a path leads to."""

    def __init__(self, directory: Directory, fids: Fids) -> None:
        self._directory = directory
        self._fids = fids

    def handlers(self) -> dict[int, Handler]:
        return {
            Type.ATTACH: self.attach,
            Type.WALK: self.walk,
            Type.GETATTR: self.get_attributes,
            Type.SETATTR: self.set_attributes,
            Type.READLINK: self.read_link,
            Type.SYMLINK: self.make_link,
            Type.MKNOD: self.make_node,
            Type.MKDIR: self.make_directory,
            Type.LINK: self.link,
            Type.RENAME: self.rename,
            Type.RENAMEAT: self.rename_at,
            Type.UNLINKAT: self.unlink_at,
            Type.REMOVE: self.remove,
            Type.CLUNK: self.clunk,
            Type.STATFS: self.file_system,
            Type.READDIR: self.read_directory,
        }

    # -- fids --

    def attach(self, body: Body, message: Message) -> bytes:
        """The share's root. Whoever it says it is, it is the guest."""
        number = body.integer()
        self._fids.need_room(number)
        root = self._directory.nodes.root
        status = self._directory.status(root)
        root.references += 1
        self._fids.add(number, root)
        return wire.qid(status)

    def walk(self, body: Body, message: Message) -> bytes:
        """From one file to another, as far as there are names; the new fid only if it comes to the end."""
        number, new_number, count = body.integer(), body.integer(), body.integer(2)
        if count > WALK_MAX:
            raise failure(errno.EINVAL)
        fid = self._fids.get(number)
        names = [body.string() for _ in range(count)]
        if new_number != number:
            self._fids.need_room(new_number)
        elif fid.fd >= 0:
            raise failure(errno.EBADF)
        nodes = self._directory.nodes
        at = fid.node
        at.references += 1
        qids: list[bytes] = []
        for name in names:
            try:
                following, status = self._step(at, name)
            except OSError:
                nodes.drop(at)
                if not qids:
                    raise
                break
            nodes.drop(at)
            at = following
            qids.append(wire.qid(status))
        else:
            if new_number == number:
                self._fids.remove(number)
            self._fids.add(new_number, at)
        return len(qids).to_bytes(2, "little") + b"".join(qids)

    def _step(self, node: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """One component; the root's parent is the root."""
        if name != b"..":
            return self._directory.lookup(node, name)
        parent = node.parent or node
        status = self._directory.status(parent)
        parent.references += 1
        return parent, status

    def clunk(self, body: Body, message: Message) -> bytes:
        self._fids.remove(body.integer())
        return b""

    def _node(self, body: Body) -> Node:
        return self._fids.get(body.integer()).node

    # -- attributes --

    def get_attributes(self, body: Body, message: Message) -> bytes:
        status = self._directory.status(self._node(body))
        return wire.attributes(status, self._directory.guest_owner(status))

    def set_attributes(self, body: Body, message: Message) -> bytes:
        fields = body.take(wire.SETATTR)
        number, valid, mode, user, group, size, accessed, accessed_ns, modified, modified_ns = fields
        fid, directory = self._fids.get(number), self._directory
        if valid & (wire.SET_UID | wire.SET_GID):
            directory.set_owner(
                fid.node, user if valid & wire.SET_UID else None, group if valid & wire.SET_GID else None
            )
        if valid & wire.SET_MODE:
            directory.set_mode(fid.node, mode)
        if valid & wire.SET_SIZE:
            if fid.fd >= 0 and not fid.is_directory:
                os.ftruncate(fid.fd, size)
            else:
                directory.set_size(fid.node, size)
        if valid & (wire.SET_ATIME | wire.SET_MTIME):
            directory.set_times(
                fid.node,
                time_to_set(valid & wire.SET_ATIME, not valid & wire.SET_ATIME_VALUE, accessed, accessed_ns),
                time_to_set(valid & wire.SET_MTIME, not valid & wire.SET_MTIME_VALUE, modified, modified_ns),
            )
        return b""

    def file_system(self, body: Body, message: Message) -> bytes:
        self._node(body)
        fs = self._directory.file_system()
        blocks = (fs.f_blocks, fs.f_bfree, fs.f_bavail, fs.f_files, fs.f_ffree)
        return wire.STATFS.pack(wire.V9FS_MAGIC, fs.f_bsize, *blocks, 0, fs.f_namemax)

    # -- names --

    def read_link(self, body: Body, message: Message) -> bytes:
        return wire.string(self._directory.read_link(self._node(body)))

    def make_link(self, body: Body, message: Message) -> bytes:
        node, name, target = self._node(body), body.string(), body.string()
        self._directory.make_link(node, name, target)
        return self._qid(node, name)

    def make_node(self, body: Body, message: Message) -> bytes:
        node, name, mode = self._node(body), body.string(), body.integer()
        self._directory.make_node(node, name, mode)
        return self._qid(node, name)

    def make_directory(self, body: Body, message: Message) -> bytes:
        node, name, mode = self._node(body), body.string(), body.integer()
        self._directory.make_directory(node, name, mode)
        return self._qid(node, name)

    def link(self, body: Body, message: Message) -> bytes:
        parent, node = self._node(body), self._node(body)
        self._directory.link(node, parent, body.string())
        return b""

    def rename(self, body: Body, message: Message) -> bytes:
        node, new_parent, new_name = self._node(body), self._node(body), body.string()
        if node.parent is None:
            raise failure(errno.EBUSY)
        self._directory.rename(node.parent, node.name, new_parent, new_name)
        return b""

    def rename_at(self, body: Body, message: Message) -> bytes:
        parent, name = self._node(body), body.string()
        self._directory.rename(parent, name, self._node(body), body.string())
        return b""

    def unlink_at(self, body: Body, message: Message) -> bytes:
        parent, name, flags = self._node(body), body.string(), body.integer()
        self._remove(parent, name, bool(flags & _AT_REMOVEDIR))
        return b""

    def remove(self, body: Body, message: Message) -> bytes:
        """Remove the file, and the fid in any case."""
        number = body.integer()
        node = self._fids.get(number).node
        try:
            if node.parent is None:
                raise failure(errno.EBUSY)
            is_directory = stat.S_ISDIR(self._directory.status(node).st_mode)
            self._remove(node.parent, node.name, is_directory)
        finally:
            self._fids.remove(number)
        return b""

    def _remove(self, parent: Node, name: bytes, is_directory: bool) -> None:
        if is_directory:
            self._directory.remove_directory(parent, name)
        else:
            self._directory.unlink(parent, name)

    def _qid(self, parent: Node, name: bytes) -> bytes:
        return wire.qid(self._directory.status_of(parent, name))

    # -- directories --

    def read_directory(self, body: Body, message: Message) -> bytes:
        number, offset, size = body.take(wire.TRANSFER)
        fid = self._fids.opened(number, True)
        head = wire.HEADER.size + wire.COUNT.size
        room = min(size, message.writable_bytes - head, LISTING_BYTES_MAX)
        answer = bytearray()
        for found in self._directory.read_directory(fid.fd, offset, max(512, room)):
            is_above = fid.node is self._directory.nodes.root and found.name == b".."
            ino = fid.node.key[1] if is_above else found.ino
            record = wire.QID.pack(0x80 if found.kind == 4 else 0, 0, ino)
            record += _place(found) + wire.string(found.name)
            if len(answer) + len(record) > room:
                break
            answer += record
        return wire.COUNT.pack(len(answer)) + bytes(answer)


def _place(found: syscalls.DirectoryEntry) -> bytes:
    """Where the next one starts, and the kind."""
    return found.next_offset.to_bytes(8, "little", signed=True) + bytes([found.kind])
