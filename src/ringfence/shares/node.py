"""The files of a share that a guest knows, and the few descriptors that are open for them.

A node is a file by device and inode number, and remembers a directory and a name by which it was last seen.
So it needs no descriptor of its own: its directory's is enough, those are opened as they are needed, and
the least recently used is closed when there are too many. A file that is no longer where it was, because the
host has moved it, is *stale*; the guest's kernel then looks its path up again. Only a file that the guest
itself removes while it uses it is kept open, for it has no other name.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict

from ringfence.shares.syscalls import open_beneath

#: Files that a guest may know at a time.
NODES_MAX = 1 << 18
#: Descriptors for directories, and for removed files in use.
OPEN_MAX = 512
REMOVED_MAX = 512
#: A path of 4096 characters has no more components that mean something.
DEPTH_MAX = 1024

Key = tuple[int, int]


def failure(code: int) -> OSError:
    """An error of our own, as the host would put it."""
    return OSError(code, os.strerror(code))


class Node:
    """A file that the guest knows. It stays known while it has references, or nodes below it."""

    __slots__ = ("children", "fd", "id", "is_removed", "key", "name", "parent", "references", "version")

    def __init__(self, number: int, key: Key, parent: Node | None, name: bytes) -> None:
        self.id = number
        self.key = key
        self.parent = parent
        self.name = name
        self.references = 1
        self.children = 0
        self.fd = -1
        #: it has lost the name we knew
        self.is_removed = False
        #: its time of change when it was last opened
        self.version = 0


class NodeTable:
    """All nodes of one share. ``root`` is always there and its descriptor always open."""

    def __init__(self, root_fd: int, nodes_max: int = NODES_MAX, open_max: int = OPEN_MAX) -> None:
        self._nodes_max = nodes_max
        self._open_max = open_max
        self._open: OrderedDict[Node, None] = OrderedDict()
        self._removed = 0
        self.root = Node(1, key_of(os.fstat(root_fd)), None, b"")
        self.root.fd = root_fd
        self._last_id = 1
        self._by_key: dict[Key, Node] = {self.root.key: self.root}
        self._by_id: dict[int, Node] = {1: self.root}

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, number: int) -> Node:
        """The node with that number.

        Raises:
            OSError: the guest knows no such file (ESTALE).
        """
        node = self._by_id.get(number)
        if node is None:
            raise failure(errno.ESTALE)
        return node

    def find_id(self, number: int) -> Node | None:
        return self._by_id.get(number)

    def find(self, status: os.stat_result) -> Node | None:
        """The node of a file, if the guest knows it."""
        return self._by_key.get(key_of(status))

    # -- references --

    def refer(self, parent: Node, name: bytes, status: os.stat_result) -> Node:
        """The guest gets to know a file, or sees it again: one more reference.

        Raises:
            OSError: it knows too many (ENFILE).
        """
        key = key_of(status)
        node = self._by_key.get(key)
        if node is not None:
            node.references += 1
            if node is not self.root:
                self.move(node, parent, name)
            return node
        if len(self._by_key) >= self._nodes_max:
            raise failure(errno.ENFILE)
        self._last_id += 1
        node = Node(self._last_id, key, parent, name)
        parent.children += 1
        self._by_key[key] = self._by_id[node.id] = node
        return node

    def drop(self, node: Node, n: int = 1) -> None:
        """The guest forgets ``n`` references."""
        node.references = max(0, node.references - n)
        while node.references == 0 and node.children == 0 and node.parent is not None:
            parent = node.parent
            if self._by_id.pop(node.id, None) is None:
                return  # forgotten before
            del self._by_key[node.key]
            self._close(node)
            parent.children -= 1
            node = parent

    def move(self, node: Node, parent: Node, name: bytes) -> None:
        """The file was seen in this place."""
        if node.is_removed:
            self._close(node)
            node.is_removed = False
        if node.parent is not parent:
            old = node.parent
            parent.children += 1
            node.parent = parent
            if old is not None:
                old.children -= 1
                self.drop(old, 0)
        node.name = name

    def keep_removed(self, node: Node) -> None:
        """The file has lost its name: keep hold of it, if it is open, while the guest has references."""
        if node is self.root or node.is_removed:
            return
        if self._removed >= REMOVED_MAX:
            self._close(node)
        self._open.pop(node, None)
        node.is_removed = True
        self._removed += node.fd >= 0

    def clear(self) -> None:
        """Forget everything but the root."""
        for node in self._by_id.values():
            if node is not self.root:
                self._close(node)
        root = self.root
        root.references, root.children = 1, 0
        self._by_key = {root.key: root}
        self._by_id = {root.id: root}

    # -- descriptors --

    def fd(self, node: Node) -> int:
        """An O_PATH descriptor of the file, open at least until the next two are asked for.

        Raises:
            OSError: it is not where it was seen (ESTALE), or the host refuses.
        """
        missing: list[Node] = []
        at = node
        while at.fd < 0:
            if at.parent is None or at.is_removed or len(missing) >= DEPTH_MAX:
                raise failure(errno.ESTALE)
            missing.append(at)
            at = at.parent
        if at in self._open:
            self._open.move_to_end(at)
        for child in reversed(missing):
            fd = open_beneath(at.fd, child.name, os.O_PATH)
            if key_of(os.fstat(fd)) != child.key:
                os.close(fd)
                raise failure(errno.ESTALE)
            child.fd = fd
            self._open[child] = None
            if len(self._open) > self._open_max:
                self._close(next(iter(self._open)))
            at = child
        return at.fd

    def place(self, node: Node) -> tuple[int, bytes]:
        """The descriptor of its directory, and its name there.

        Raises:
            OSError: it has no name, or its directory is not where it was (ESTALE).
        """
        if node.parent is None or node.is_removed:
            raise failure(errno.ESTALE)
        return self.fd(node.parent), node.name

    def _close(self, node: Node) -> None:
        self._open.pop(node, None)
        if node.fd >= 0:
            os.close(node.fd)
            node.fd = -1
            self._removed -= node.is_removed


def key_of(status: os.stat_result) -> Key:
    return status.st_dev, status.st_ino


def error_number(error: OSError) -> int:
    """What the guest is told of a host's error."""
    code = error.errno or errno.EIO
    # It has a table of files of its own, and nothing to do with ours.
    return errno.ENFILE if code == errno.EMFILE else code
