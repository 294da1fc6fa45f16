"""Guest RAM as a device sees it: what direct memory access (DMA) needs, and no more.

The compiled ``core.memory`` implements it. The board's loaders and fw_cfg depend on this protocol only, and
are tested against a plain bytearray; virtqueues (``core.dma``) are compiled as well, and want that memory.
"""

from __future__ import annotations

from typing import Protocol


class GuestMemory(Protocol):
    """Guest-physical memory. A range counts as RAM when it lies inside one RAM region.

    A sum ``gpa + n`` beyond 64 bits is not RAM either. All methods raise
    `ringfence.errors.BadAddress` for what is not RAM; the device counts that and goes on.
    """

    def read(self, gpa: int, n: int) -> bytes: ...

    def write(self, gpa: int, data: bytes) -> None: ...

    def contains(self, gpa: int, n: int) -> bool: ...

    def view(self, gpa: int, n: int) -> memoryview:
        """A writable view of bytes straight on guest RAM. Report what was written to `dirtied`."""
        ...

    def dirtied(self, gpa: int, n: int) -> None:
        """The range was written through a view: log the pages, forget code decoded from them."""
        ...
