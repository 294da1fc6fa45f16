"""Starts a firmware ROM at the reset vector: Intel SDM vol. 3, section 10.1.4.

The ROM ends at 4 GiB, where the processor's first instruction is, and its last 128 KiB are also below 1 MiB.
"""

from __future__ import annotations

from typing import Protocol

from ringfence.board import memory_map as mm
from ringfence.board.entry import CODE, DATA, DATA_SEGMENTS, Entry, Segment
from ringfence.errors import ImageError
from ringfence.units import MIB, PAGE_BYTES

SIZE_MAX_BYTES = 16 * MIB
_RESET_BASE = 0xFFFF_0000
_RESET_IP = 0xFFF0


class RomMemory(Protocol):
    """Of guest memory, what a ROM needs."""

    def add_rom(self, gpa: int, data: bytes) -> None: ...


def load(memory: RomMemory, rom: bytes, name: str) -> Entry:
    """Map the ROM; nothing else may be at these addresses.

    Raises:
        ImageError: not a ROM image's size.
    """
    if len(rom) % PAGE_BYTES or len(rom) > SIZE_MAX_BYTES:
        limit = f"whole pages of 4 KiB, at most {SIZE_MAX_BYTES >> 20} MiB"
        raise ImageError(f"firmware {name!r} has {len(rom)} bytes; a ROM image is {limit}")
    memory.add_rom(mm.BELOW_4G_END - len(rom), rom)
    low = rom[-mm.BIOS_BYTES :].rjust(mm.BIOS_BYTES, b"\xff")
    memory.add_rom(mm.BIOS_BASE, low)
    # The state after a reset, as far as it decides where execution starts.
    data = Segment(0, 0, 0xFFFF, DATA)
    code = Segment(0xF000, _RESET_BASE, 0xFFFF, CODE)
    return Entry({"rip": _RESET_IP}, {"cs": code, **dict.fromkeys(DATA_SEGMENTS, data)})
