"""The files a guest has open: numbers for descriptors, so many and no more."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from ringfence.shares.node import Node, failure

HANDLES_MAX = 1024


class Handle(NamedTuple):
    fd: int
    node: Node
    is_directory: bool


class Handles:
    """A table of open files."""

    def __init__(self, limit: int = HANDLES_MAX) -> None:
        self._limit = limit
        self._table: dict[int, Handle] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._table)

    def need_room(self) -> None:
        """Before a file is opened.

        Raises:
            OSError: there are too many (ENFILE).
        """
        if len(self._table) >= self._limit:
            raise failure(errno.ENFILE)

    def add(self, fd: int, node: Node, is_directory: bool = False) -> int:
        self._last += 1
        self._table[self._last] = Handle(fd, node, is_directory)
        return self._last

    def get(self, number: int, is_directory: bool = False) -> Handle:
        """An open file, or an open directory.

        Raises:
            OSError: there is none of that number (EBADF).
        """
        handle = self._table.get(number)
        if handle is None or handle.is_directory != is_directory:
            raise failure(errno.EBADF)
        return handle

    def close(self, number: int) -> None:
        handle = self._table.pop(number, None)
        if handle is not None:
            os.close(handle.fd)

    def clear(self) -> None:
        for number in list(self._table):
            self.close(number)
