"""A bus: address ranges, each with the device that answers there.

One class serves both port I/O and memory-mapped I/O. What nobody claims reads all ones, as on
a PC with a pulled-up data bus, and is counted.
"""

from __future__ import annotations

import bisect
from collections import Counter

from ringfence.devices.device import Device

#: How many different unclaimed addresses are remembered; the rest share one counter.
UNCLAIMED_LIMIT = 256


class Bus:
    """Dispatches an access at an address to the device mapped there."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._starts: list[int] = []
        self._ranges: list[tuple[int, int, Device, int]] = []
        #: accesses that no device claimed, by (address, is_write)
        self.unclaimed: Counter[tuple[int, bool]] = Counter()

    def map(self, base: int, size: int, device: Device, offset: int = 0) -> None:
        """Let ``device`` answer at [base, base+size), seen by it from ``offset`` on.

        Raises:
            ValueError: the range overlaps one mapped already, or leaves the bus.
        """
        if size <= 0 or base < 0 or base + size > self.size:
            raise ValueError(f"{self.name}: no such range {base:#x}+{size:#x}")
        at = bisect.bisect_right(self._starts, base)
        below = self._ranges[at - 1] if at else None
        above = self._ranges[at] if at < len(self._ranges) else None
        if (below and below[1] > base) or (above and above[0] < base + size):
            raise ValueError(f"{self.name}: {base:#x}+{size:#x} overlaps another device")
        self._starts.insert(at, base)
        self._ranges.insert(at, (base, base + size, device, offset))

    def unmap(self, base: int) -> None:
        """Take away the range that starts at ``base``, if there is one."""
        at = bisect.bisect_left(self._starts, base)
        if at < len(self._starts) and self._starts[at] == base:
            del self._starts[at], self._ranges[at]

    def find(self, address: int, size_bytes: int) -> tuple[Device, int] | None:
        """The device that claims the whole access, and the offset it sees."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at >= 0:
            base, end, device, offset = self._ranges[at]
            if address + size_bytes <= end:
                return device, address - base + offset
        return None

    def read(self, address: int, size_bytes: int) -> int:
        hit = self.find(address, size_bytes)
        if hit is None:
            if size_bytes > 1:
                return self._split_read(address, size_bytes)
            self._count(address, False)
            return 0xFF
        return hit[0].read(hit[1], size_bytes) & ((1 << 8 * size_bytes) - 1)

    def write(self, address: int, size_bytes: int, value: int) -> None:
        hit = self.find(address, size_bytes)
        if hit is None:
            if size_bytes > 1:
                self._split_write(address, size_bytes, value)
            else:
                self._count(address, True)
            return
        hit[0].write(hit[1], size_bytes, value & ((1 << 8 * size_bytes) - 1))

    def _split_read(self, address: int, size_bytes: int) -> int:
        """An access wider than its devices is cut in halves, as a bus bridge does."""
        half = size_bytes // 2
        low = self.read(address, half)
        return low | self.read(address + half, half) << (8 * half)

    def _split_write(self, address: int, size_bytes: int, value: int) -> None:
        half = size_bytes // 2
        self.write(address, half, value & ((1 << 8 * half) - 1))
        self.write(address + half, half, value >> (8 * half))

    def _count(self, address: int, is_write: bool) -> None:
        key = (address, is_write)
        if key not in self.unclaimed and len(self.unclaimed) >= UNCLAIMED_LIMIT:
            key = (-1, is_write)
        self.unclaimed[key] += 1
