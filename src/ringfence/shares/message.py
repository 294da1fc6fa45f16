"""What a file server needs of a request, whatever carries it; `core.dma.chain.Chain` is one."""

from __future__ import annotations

from typing import Protocol


class Message(Protocol):
    """A request, and room for its answer: bytes by their offset in either."""

    readable_bytes: int
    writable_bytes: int

    def read(self, offset: int, n: int) -> bytes:
        """Up to ``n`` bytes of the request, copied."""
        ...

    def write(self, offset: int, data: bytes) -> int:
        """Put ``data`` into the answer, as far as there is room; returns how much."""
        ...

    def readable(self, offset: int, n: int) -> list[memoryview]:
        """A range of the request as an I/O vector."""
        ...

    def writable(self, offset: int, n: int) -> list[memoryview]:
        """A range of the answer as an I/O vector."""
        ...

    def dirtied(self, offset: int, n: int) -> None:
        """A range of the answer was filled through its I/O vector."""
        ...
