"""The numbers by which a 9P client names files: it chooses them."""

from __future__ import annotations

import errno
import os

from ringfence.shares.node import Node, NodeTable, failure

FIDS_MAX = 1 << 16
OPEN_MAX = 1024


class Fid:
    """A file that the client has a number for, and perhaps open."""

    __slots__ = ("fd", "is_directory", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.fd = -1
        self.is_directory = False


class Fids:
    """The table. Each fid holds one reference of its node."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._table: dict[int, Fid] = {}
        self._open = 0

    def __len__(self) -> int:
        return len(self._table)

    def get(self, number: int) -> Fid:
        """Raises:
        OSError: there is no such fid (EBADF).
        """
        fid = self._table.get(number)
        if fid is None:
            raise failure(errno.EBADF)
        return fid

    def opened(self, number: int, is_directory: bool = False) -> Fid:
        """Raises:
        OSError: there is none, it is not open, or of the other kind (EBADF).
        """
        fid = self.get(number)
        if fid.fd < 0 or fid.is_directory != is_directory:
            raise failure(errno.EBADF)
        return fid

    def need_room(self, number: int) -> None:
        """Before a new fid is made.

        Raises:
            OSError: it is in use (EBADF), or there are too many (ENFILE).
        """
        if number in self._table:
            raise failure(errno.EBADF)
        if len(self._table) >= FIDS_MAX:
            raise failure(errno.ENFILE)

    def need_open_room(self, fid: Fid) -> None:
        """Before a fid is opened.

        Raises:
            OSError: it is open already (EBADF), or too many are (ENFILE).
        """
        if fid.fd >= 0:
            raise failure(errno.EBADF)
        if self._open >= OPEN_MAX:
            raise failure(errno.ENFILE)

    def add(self, number: int, node: Node) -> Fid:
        """Takes over one reference of ``node``."""
        fid = self._table[number] = Fid(node)
        return fid

    def open(self, fid: Fid, fd: int, is_directory: bool) -> None:
        fid.fd, fid.is_directory = fd, is_directory
        self._open += 1

    def remove(self, number: int) -> Node:
        """Close it; its node, whose reference is gone.

        Raises:
            OSError: there is no such fid (EBADF).
        """
        fid = self.get(number)
        del self._table[number]
        if fid.fd >= 0:
            os.close(fid.fd)
            self._open -= 1
        self._nodes.drop(fid.node)
        return fid.node

    def clear(self) -> None:
        for number in list(self._table):
            self.remove(number)
