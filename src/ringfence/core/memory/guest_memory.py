"""Guest-physical memory: RAM and ROM at their addresses, each an anonymous shared mapping.

The Python side copies bytes in and out or takes a memoryview straight on guest RAM; the compiled
side reads the same regions through `MemoryMap`. RAM is a memfd, so that another mapping of the
same pages (a fork, a jailed device process) stays possible.
"""

import mmap
import os
from collections.abc import Callable

import cython
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.memory.map import (
    PAGE_HAS_CODE,
    REGION_LIMIT,
    Region,
    find_region,
)

from ringfence.errors import BadAddress, HostError

PAGE: int = 4096
ADDRESSES: int = 1 << 64


@cython.cclass
class GuestMemory:
    """The guest's physical address space.

    Regions are page-aligned and do not overlap; at most 16. ROM reads like RAM and ignores the
    guest's writes. Everything else in the address space belongs to the buses.
    """

    def __cinit__(self) -> None:
        memset(cython.address(self.map), 0, cython.sizeof(self.map))
        self._mappings = []
        self._watchers = []

    def __dealloc__(self) -> None:
        i: cython.int
        for i in range(self.map.count):
            free(self.map.regions[i].flags)

    def add_ram(self, gpa: int, size_bytes: int) -> None:
        """Put zeroed RAM at ``gpa``.

        Raises:
            HostError: the host has no such amount of memory to give.
        """
        self._add(gpa, size_bytes, False)

    def add_rom(self, gpa: int, data: bytes) -> None:
        """Put read-only memory holding ``data`` (padded with zeros to a page) at ``gpa``."""
        size = (len(data) + PAGE - 1) // PAGE * PAGE
        region = self._add(gpa, size, True)
        region[: len(data)] = data

    def _add(self, gpa: int, size: int, is_rom: bool) -> mmap.mmap:
        if gpa % PAGE or size % PAGE or size <= 0 or self.map.count >= REGION_LIMIT:
            raise ValueError(f"no such region: {gpa:#x}+{size:#x}")
        for base, length, _ in self.regions():
            if gpa < base + length and base < gpa + size:
                raise ValueError(f"region {gpa:#x}+{size:#x} overlaps {base:#x}+{length:#x}")
        try:
            fd = os.memfd_create("ringfence-ram")
            try:
                os.ftruncate(fd, size)
                mapping = mmap.mmap(fd, size)
            finally:
                os.close(fd)
        except (OSError, OverflowError) as error:
            raise HostError(f"the host gives no {size >> 20} MiB for guest memory: {error}") from error
        view: cython.uchar[::1] = mapping
        flags = cython.cast(cython.pointer(uint8_t), calloc(size // PAGE, 1))
        if flags == cython.NULL:
            raise HostError("out of memory")
        region = cython.address(self.map.regions[self.map.count])
        region.gpa = gpa
        region.size = size
        # SAFETY: `size` bytes, mapped for as long as _mappings holds the mapping
        region.host = cython.cast(cython.pointer(uint8_t), cython.address(view[0]))
        region.flags = flags
        region.is_rom = is_rom
        self.map.count += 1
        # the mmap object is kept open for as long as this one lives: its address is in use
        self._mappings.append(mapping)
        return mapping

    def regions(self) -> list[tuple[int, int, bool]]:
        """``(gpa, size_bytes, is_rom)`` of every region, in the order they were added."""
        return [
            (self.map.regions[i].gpa, self.map.regions[i].size, bool(self.map.regions[i].is_rom))
            for i in range(self.map.count)
        ]

    @property
    def size_bytes(self) -> int:
        """RAM in all, ROM not counted."""
        return sum(size for _, size, is_rom in self.regions() if not is_rom)

    def contains(self, gpa: int, n: int) -> bool:
        """Whether [gpa, gpa+n) lies in one region of RAM."""
        try:
            self._require(gpa, n, False)
        except BadAddress:
            return False
        return True

    def read(self, gpa: int, n: int) -> bytes:
        """``n`` bytes of RAM or ROM.

        Raises:
            BadAddress: not all of it is in one region.
        """
        mapping, offset = self._require(gpa, n, True)
        return mapping[offset : offset + n]

    def write(self, gpa: int, data: bytes) -> None:
        """Store ``data`` in RAM. Decoded code on those pages is dropped.

        Raises:
            BadAddress: not all of it is in one region of RAM.
        """
        mapping, offset = self._require(gpa, len(data), False)
        mapping[offset : offset + len(data)] = data
        self.dirtied(gpa, len(data))

    def view(self, gpa: int, n: int) -> memoryview:
        """A writable view straight on guest RAM; call `dirtied` after writing through it.

        Raises:
            BadAddress: not all of it is in one region of RAM.
        """
        mapping, offset = self._require(gpa, n, False)
        return memoryview(mapping)[offset : offset + n]

    def dirtied(self, gpa: int, n: int) -> None:
        """Tell that a device wrote [gpa, gpa+n)."""
        if n <= 0:
            return
        first: uint64_t = gpa
        last: uint64_t = gpa + n - 1
        page: uint64_t
        region: cython.pointer(Region) = find_region(cython.address(self.map), first)
        if region == cython.NULL:
            return
        for page in range((first - region.gpa) >> 12, ((last - region.gpa) >> 12) + 1):
            if region.flags[page] & PAGE_HAS_CODE:
                for watcher in self._watchers:
                    watcher(gpa, n)
                return

    def watch_code(self, watcher: Callable[[int, int], None]) -> None:
        """Have ``watcher(gpa, n)`` called when a device writes on a page with decoded code."""
        self._watchers.append(watcher)

    def _require(self, gpa: int, n: int, rom_too: bool) -> tuple[mmap.mmap, int]:
        """The mapping that holds [gpa, gpa+n), and where in it that begins."""
        if 0 <= gpa < ADDRESSES and 0 <= n < ADDRESSES:
            first: uint64_t = gpa
            size: uint64_t = n
            region: cython.pointer(Region) = find_region(cython.address(self.map), first)
            if region != cython.NULL and size <= region.size - (first - region.gpa):
                if rom_too or not region.is_rom:
                    index: cython.Py_ssize_t = region - cython.address(self.map.regions[0])
                    return self._mappings[index], first - region.gpa
        raise BadAddress(f"no guest memory at {gpa:#x}+{n:#x}")
