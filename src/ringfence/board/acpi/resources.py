"""Resource descriptors, of which a device's ``_CRS`` is made: ACPI 6.4, section 6.4."""

from __future__ import annotations

import struct

from ringfence.board.acpi import aml

_MEMORY, _IO, _BUS = 0, 1, 2
_MIN_FIXED, _MAX_FIXED = 1 << 2, 1 << 3
_ENTIRE_RANGE = 0x03
_READ_WRITE = 0x01


def template(*descriptors: bytes) -> bytes:
    """``ResourceTemplate () { … }``: an end tag with a checksum of zero means "not checked"."""
    return aml.buffer(b"".join(descriptors) + b"\x79\x00")


def io(base: int, size: int) -> bytes:
    """Fixed ports, decoded with 16 bits."""
    return struct.pack("<BBHHBB", 0x47, 1, base, base, 1, size)


def irq(number: int) -> bytes:
    """An ISA interrupt: edge-triggered, active high, exclusive."""
    return struct.pack("<BH", 0x22, 1 << number)


def memory(base: int, size: int) -> bytes:
    """A fixed 32-bit range, writable."""
    return struct.pack("<BHBII", 0x86, 9, _READ_WRITE, base, size)


def bus_window(first: int, last: int) -> bytes:
    body = (_BUS, _MIN_FIXED | _MAX_FIXED, 0, 0, first, last, 0, last - first + 1)
    return struct.pack("<BHBBBHHHHH", 0x88, 13, *body)


def io_window(base: int, size: int) -> bytes:
    body = (_IO, _MIN_FIXED | _MAX_FIXED, _ENTIRE_RANGE, 0, base, base + size - 1, 0, size)
    return struct.pack("<BHBBBHHHHH", 0x88, 13, *body)


def memory_window(base: int, size: int) -> bytes:
    body = (_MEMORY, _MIN_FIXED | _MAX_FIXED, _READ_WRITE, 0, base, base + size - 1, 0, size)
    return struct.pack("<BHBBBIIIII", 0x87, 23, *body)
