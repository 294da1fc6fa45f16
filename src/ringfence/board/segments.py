"""What the boot protocols for plain executables share: parts at fixed addresses, and a command line."""

from __future__ import annotations

from collections.abc import Iterable

from ringfence.board import memory_map as mm
from ringfence.board.memory_map import MemoryMap
from ringfence.devices.dma import GuestMemory
from ringfence.errors import ImageError


def load_segments(memory: GuestMemory, map: MemoryMap, segments: Iterable[tuple[int, bytes, int]]) -> int:
    """Write (address, content, size in memory) each; RAM is zero already. Returns the end of the highest.

    Raises:
        ImageError: one lies outside RAM, or where the loader keeps the boot parameters.
    """
    end = 0
    for address, content, size in segments:
        in_low = address + size <= mm.BOOT_BASE
        in_high = address >= mm.HIGH_BASE and address + size <= map.low_end
        if not (in_low or in_high):
            raise ImageError(
                f"does not fit in memory: it wants {address:#x} to {address + size:#x}, "
                f"and there is RAM up to {mm.BOOT_BASE:#x} and from {mm.HIGH_BASE:#x} to {map.low_end:#x}"
            )
        memory.write(address, content)
        end = max(end, address + size)
    if end == 0:
        raise ImageError("it has nothing to load")
    return end


def write_command_line(memory: GuestMemory, cmdline: bytes) -> None:
    if len(cmdline) >= mm.BOOT_COMMAND_LINE_BYTES:
        limit = mm.BOOT_COMMAND_LINE_BYTES - 1
        raise ImageError(f"the command line has {len(cmdline)} bytes; there is room for {limit}")
    memory.write(mm.BOOT_COMMAND_LINE, cmdline + b"\0")
