"""Starts bare code in real mode, with nothing set up: for tests of the processor."""

from __future__ import annotations

from ringfence.board.entry import CODE, CR0_ET, DATA, DATA_SEGMENTS, RFLAGS_FIXED, Entry, Segment
from ringfence.board.memory_map import MemoryMap
from ringfence.devices.dma import GuestMemory
from ringfence.errors import ImageError

_LIMIT = 0xFFFF


def load(memory: GuestMemory, map: MemoryMap, code: bytes, address: int) -> Entry:
    """Put ``code`` at ``address`` and start it there, all segments at its paragraph.

    Raises:
        ImageError: it does not fit.
    """
    if address + len(code) > map.low_end:
        raise ImageError(f"does not fit in memory: {len(code)} bytes at {address:#x}")
    memory.write(address, code)
    paragraph, offset = address >> 4, address & 0xF
    base = paragraph << 4
    code_segment = Segment(paragraph, base, _LIMIT, CODE)
    data = Segment(paragraph, base, _LIMIT, DATA)
    registers = {"cr0": CR0_ET, "rflags": RFLAGS_FIXED, "rip": offset}
    return Entry(registers, {"cs": code_segment, **dict.fromkeys(DATA_SEGMENTS, data)})
