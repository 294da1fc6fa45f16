"""What a block device needs from whatever keeps its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

SECTOR_BYTES = 512


class DiskBackend(Protocol):
    """A disk: bytes at offsets. The caller keeps ranges inside ``size_bytes``.

    Every method but `close` raises `ringfence.errors.HostError` when the host fails; the block
    device reports that to its guest as an I/O error.
    """

    size_bytes: int
    is_read_only: bool

    def read(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers, in order, from ``offset`` on."""
        ...

    def write(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Write the buffers, in order, from ``offset`` on."""
        ...

    def flush(self) -> None:
        """Return when all that was written will survive a loss of power."""
        ...

    def discard(self, offset: int, n: int) -> None:
        """The range's content does not matter any more. A hint."""
        ...

    def write_zeroes(self, offset: int, n: int, may_unmap: bool) -> None:
        """Make the range read as zeroes; ``may_unmap`` allows giving up its space."""
        ...

    def close(self) -> None: ...
