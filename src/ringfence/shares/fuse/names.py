"""FUSE requests on names and attributes: lookup, making, removing, renaming, reading directories."""

from __future__ import annotations

import errno
import os

from ringfence.shares import syscalls
from ringfence.shares.directory import Directory, time_to_set
from ringfence.shares.fuse import wire
from ringfence.shares.fuse.handles import Handles
from ringfence.shares.fuse.request import Handler
from ringfence.shares.fuse.wire import Opcode
from ringfence.shares.message import Message
from ringfence.shares.node import Node, failure

#: Of a directory, read at a time for one answer.
LISTING_BYTES_MAX = 64 << 10
_NO_FILE = wire.ENTRY_OUT.pack(0, 0, wire.VALID_S, 0, 0, 0) + bytes(wire.ATTR.size)


class Names:
    """Answers to requests that a path leads to."""

    def __init__(self, directory: Directory, handles: Handles) -> None:
        self._directory = directory
        self._handles = handles

    def handlers(self) -> dict[int, Handler]:
        return {
            Opcode.LOOKUP: self.lookup,
            Opcode.GETATTR: self.get_attributes,
            Opcode.SETATTR: self.set_attributes,
            Opcode.READLINK: self.read_link,
            Opcode.SYMLINK: self.make_link,
            Opcode.MKNOD: self.make_node,
            Opcode.MKDIR: self.make_directory,
            Opcode.UNLINK: self.unlink,
            Opcode.RMDIR: self.remove_directory,
            Opcode.RENAME: self.rename,
            Opcode.RENAME2: self.rename2,
            Opcode.LINK: self.link,
            Opcode.STATFS: self.file_system,
            Opcode.READDIR: self.read_directory,
            Opcode.READDIRPLUS: self.read_directory_plus,
        }

    # -- answers --

    def entry(self, node: Node, status: os.stat_result) -> bytes:
        """``struct fuse_entry_out``."""
        head = wire.ENTRY_OUT.pack(node.id, 0, wire.VALID_S, wire.VALID_S, 0, 0)
        return head + wire.attributes(status, self._directory.guest_owner(status))

    def _attributes(self, status: os.stat_result) -> bytes:
        head = wire.ATTR_OUT.pack(wire.VALID_S, 0, 0)
        return head + wire.attributes(status, self._directory.guest_owner(status))

    # -- requests --

    def lookup(self, node: Node, body: bytes, message: Message) -> bytes:
        (name,) = _strings(body, 1)
        try:
            return self.entry(*self._directory.lookup(node, name))
        except FileNotFoundError:
            return _NO_FILE  # to be remembered as long as what is there

    def get_attributes(self, node: Node, body: bytes, message: Message) -> bytes:
        return self._attributes(self._directory.status(node))

    def set_attributes(self, node: Node, body: bytes, message: Message) -> bytes:
        fields = wire.SETATTR_IN.unpack_from(body)
        valid, handle, size, accessed, modified, _, accessed_ns, modified_ns, _, mode, user, group = fields
        directory = self._directory
        if valid & (wire.FATTR_UID | wire.FATTR_GID):
            directory.set_owner(
                node,
                user if valid & wire.FATTR_UID else None,
                group if valid & wire.FATTR_GID else None,
            )
        if valid & wire.FATTR_MODE:
            directory.set_mode(node, mode)
        if valid & wire.FATTR_SIZE:
            if valid & wire.FATTR_FH:
                os.ftruncate(self._handles.get(handle).fd, size)
            else:
                directory.set_size(node, size)
        if valid & (wire.FATTR_ATIME | wire.FATTR_MTIME):
            directory.set_times(
                node,
                time_to_set(valid & wire.FATTR_ATIME, valid & wire.FATTR_ATIME_NOW, accessed, accessed_ns),
                time_to_set(valid & wire.FATTR_MTIME, valid & wire.FATTR_MTIME_NOW, modified, modified_ns),
            )
        return self._attributes(directory.status(node))

    def read_link(self, node: Node, body: bytes, message: Message) -> bytes:
        return self._directory.read_link(node)

    def make_link(self, node: Node, body: bytes, message: Message) -> bytes:
        name, target = _strings(body, 2)
        self._directory.make_link(node, name, target)
        return self.entry(*self._directory.lookup(node, name))

    def make_node(self, node: Node, body: bytes, message: Message) -> bytes:
        (mode,) = wire.MKNOD_IN.unpack_from(body)
        (name,) = _strings(body[wire.MKNOD_IN.size :], 1)
        self._directory.make_node(node, name, mode)
        return self.entry(*self._directory.lookup(node, name))

    def make_directory(self, node: Node, body: bytes, message: Message) -> bytes:
        (mode,) = wire.MKDIR_IN.unpack_from(body)
        (name,) = _strings(body[wire.MKDIR_IN.size :], 1)
        self._directory.make_directory(node, name, mode)
        return self.entry(*self._directory.lookup(node, name))

    def unlink(self, node: Node, body: bytes, message: Message) -> bytes:
        self._directory.unlink(node, *_strings(body, 1))
        return b""

    def remove_directory(self, node: Node, body: bytes, message: Message) -> bytes:
        self._directory.remove_directory(node, *_strings(body, 1))
        return b""

    def rename(self, node: Node, body: bytes, message: Message) -> bytes:
        (number,) = wire.RENAME_IN.unpack_from(body)
        return self._rename(node, number, body[wire.RENAME_IN.size :], 0)

    def rename2(self, node: Node, body: bytes, message: Message) -> bytes:
        number, flags = wire.RENAME2_IN.unpack_from(body)
        return self._rename(node, number, body[wire.RENAME2_IN.size :], flags)

    def _rename(self, node: Node, number: int, names: bytes, flags: int) -> bytes:
        name, new_name = _strings(names, 2)
        self._directory.rename(node, name, self._directory.nodes.get(number), new_name, flags)
        return b""

    def link(self, node: Node, body: bytes, message: Message) -> bytes:
        (number,) = wire.LINK_IN.unpack_from(body)
        (name,) = _strings(body[wire.LINK_IN.size :], 1)
        self._directory.link(self._directory.nodes.get(number), node, name)
        return self.entry(*self._directory.lookup(node, name))

    def file_system(self, node: Node, body: bytes, message: Message) -> bytes:
        fs = self._directory.file_system()
        return wire.STATFS_OUT.pack(
            *(fs.f_blocks, fs.f_bfree, fs.f_bavail, fs.f_files, fs.f_ffree),
            *(fs.f_bsize, fs.f_namemax, fs.f_frsize, 0),
        )

    # -- directories --

    def read_directory(self, node: Node, body: bytes, message: Message) -> bytes:
        return self._list(node, body, message, False)

    def read_directory_plus(self, node: Node, body: bytes, message: Message) -> bytes:
        return self._list(node, body, message, True)

    def _list(self, node: Node, body: bytes, message: Message, is_plus: bool) -> bytes:
        """As many entries as there is room for, each with its attributes if that is wished."""
        number, offset, size = wire.READ_IN.unpack_from(body)
        handle = self._handles.get(number, True)
        room = min(size, message.writable_bytes - wire.OUT_HEADER.size, LISTING_BYTES_MAX)
        each = wire.ENTRY_OUT.size + wire.ATTR.size if is_plus else 0
        answer = bytearray()
        # One of the host's records is as long as one of FUSE's without attributes, or shorter.
        host_bytes = max(512, room // 5 if is_plus else room)
        for found in self._directory.read_directory(handle.fd, offset, host_bytes):
            record = _directory_record(found, self._number(handle.node, found))
            if len(answer) + each + len(record) > room:
                break
            if is_plus:
                answer += self._found(handle.node, found)
            answer += record
        return bytes(answer)

    def _number(self, node: Node, found: syscalls.DirectoryEntry) -> int:
        """What is above the share is none of the guest's business."""
        is_above = node is self._directory.nodes.root and found.name == b".."
        return node.key[1] if is_above else found.ino

    def _found(self, parent: Node, found: syscalls.DirectoryEntry) -> bytes:
        """A file that a listing comes across counts as looked up, but for the directory itself."""
        if found.name not in (b".", b".."):
            try:
                return self.entry(*self._directory.lookup(parent, found.name))
            except OSError:
                pass  # gone again, or one too many: the guest may ask for it
        return bytes(wire.ENTRY_OUT.size + wire.ATTR.size)


def _directory_record(found: syscalls.DirectoryEntry, number: int) -> bytes:
    """``struct fuse_dirent``, padded to 8 bytes."""
    head = wire.DIRENT.pack(number, found.next_offset, len(found.name), found.kind)
    return head + found.name + bytes(-len(found.name) % 8)


def _strings(body: bytes, count: int) -> list[bytes]:
    """Exactly so many strings, each ended by a NUL."""
    strings = body.split(b"\0")
    if len(strings) != count + 1 or strings.pop():
        raise failure(errno.EINVAL)
    return strings
