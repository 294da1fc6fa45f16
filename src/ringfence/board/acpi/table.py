"""The header that all ACPI tables but two share: ACPI 6.4, section 5.2.6."""

from __future__ import annotations

import struct

OEM_ID = b"RNGFNC"
OEM_TABLE_ID = b"RINGFENC"
CREATOR_ID = b"RNGF"
HEADER_BYTES = 36
_CHECKSUM_OFFSET = 9


def table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A table whose bytes sum to zero."""
    header = struct.pack(
        "<4sIBB6s8sI4sI",
        signature, HEADER_BYTES + len(body), revision, 0, OEM_ID, OEM_TABLE_ID, 1, CREATOR_ID, 1,
    )  # fmt: skip
    return with_checksum(header + body, _CHECKSUM_OFFSET)


def with_checksum(data: bytes, offset: int) -> bytes:
    """``data`` with the byte at ``offset`` chosen so that all bytes sum to zero."""
    total = (sum(data) - data[offset]) & 0xFF
    return data[:offset] + bytes([-total & 0xFF]) + data[offset + 1 :]


def generic_address(is_io: bool, address: int, size_bytes: int) -> bytes:
    """ACPI 6.4, section 5.2.3.2: where a register is and how wide."""
    access = {1: 1, 2: 2, 4: 3, 8: 4}[size_bytes]
    return struct.pack("<BBBBQ", is_io, 8 * size_bytes, 0, access, address)
