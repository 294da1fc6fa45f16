"""Who made the machine and how much memory it has: SMBIOS 3.0 (DMTF DSP0134), chapters 5 to 7.

The entry point is the 32-bit one of SMBIOS 2.1, which every reader knows; the structures are those
that section 6.2 requires.
"""

from __future__ import annotations

import struct
import uuid

from ringfence.board import memory_map as mm
from ringfence.board.acpi.table import with_checksum
from ringfence.board.memory_map import MemoryMap
from ringfence.units import KIB, MIB
from ringfence.version import __version__

_ENTRY_POINT_BYTES = 32
_NONE = 0xFFFE  # no handle
_H_FIRMWARE, _H_SYSTEM, _H_CPU, _H_ARRAY, _H_MODULE, _H_RANGE, _H_BOOT, _H_END = (
    0x000, 0x100, 0x400, 0x1000, 0x1100, 0x1300, 0x2000, 0x7F00,
)  # fmt: skip
_PRODUCER = "Ringfence"
_RANGE = struct.Struct("<IIHBQQ")


def build(memory_map: MemoryMap, cpu_model: str, machine_id: uuid.UUID) -> bytes:
    """Entry point and structures, for `memory_map.SMBIOS_BASE`.

    ``machine_id`` names the machine to its guest.
    """
    structures = [
        _structure(0, _H_FIRMWARE, _firmware(), _PRODUCER, __version__, "01/01/2026"),
        _structure(1, _H_SYSTEM, struct.pack("<BBBB16sBBB", 1, 2, 3, 0, machine_id.bytes_le, 6, 0, 0),
                   _PRODUCER, "PC", __version__),
        _structure(4, _H_CPU, _processor(), "CPU 0", _PRODUCER, cpu_model),
        *_memory(memory_map),
        _structure(32, _H_BOOT, bytes(6) + b"\0"),
        _structure(127, _H_END, b""),
    ]  # fmt: skip
    body = b"".join(structures)
    return _entry_point(len(body), len(structures), max(map(len, structures))) + body


def _entry_point(length: int, count: int, largest: int) -> bytes:
    """Two checksums: the second half, from ``_DMI_`` on, is the older DMI entry point."""
    table = mm.SMBIOS_BASE + _ENTRY_POINT_BYTES
    first = struct.pack("<4sBBBBHB5x", b"_SM_", 0, 31, 2, 8, largest, 0)
    second = with_checksum(struct.pack("<5sBHIHB", b"_DMI_", 0, length, table, count, 0x28), 5)
    return with_checksum(first + second, 4) + b"\0"


def _structure(kind: int, handle: int, body: bytes, *strings: str) -> bytes:
    """A formatted part, and its strings, which the formatted part names by number from 1."""
    texts = b"".join(text.encode("ascii", "replace") + b"\0" for text in strings) or b"\0"
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + texts + b"\0"


def _firmware() -> bytes:
    no_characteristics, is_virtual_machine, no_release = 1 << 3, 1 << 4, b"\xff" * 4
    kib_64_units = mm.BIOS_BYTES // (64 * KIB) - 1
    body = (1, 2, mm.BIOS_BASE >> 4, 3, kib_64_units, no_characteristics, 0, is_virtual_machine)
    return struct.pack("<BBHBBQBB", *body) + no_release


def _processor() -> bytes:
    central, other_family, enabled_populated, other = 3, 1, 0x41, 1
    return struct.pack(
        "<BBBBQBBHHHBBHHHBBB",
        1, central, other_family, 2, 0, 3, 0, 0, 1000, 1000, enabled_populated, other,
        0xFFFF, 0xFFFF, 0xFFFF, 0, 0, 0,
    ) + struct.pack("<BBBHH", 1, 1, 1, 1 << 2, other_family)  # fmt: skip


def _memory(memory_map: MemoryMap) -> list[bytes]:
    """One array with one module of all RAM, and where it is mapped."""
    size_kib = memory_map.ram_bytes // KIB
    on_board, system, no_ecc = 3, 3, 3
    array = struct.pack("<BBBIHHQ", on_board, system, no_ecc, size_kib, _NONE, 1, 0)
    size_mib = memory_map.ram_bytes // MIB
    module_size = size_mib if size_mib < 0x7FFF else 0x7FFF
    dimm, ram = 9, 7
    module = struct.pack(
        "<HHHHHBBBBBHHBBBBBIH",
        _H_ARRAY, _NONE, 64, 64, module_size, dimm, 0, 1, 0, ram, 0, 0, 2, 0, 0, 0, 0, size_mib, 0,
    )  # fmt: skip
    ranges = [(0, memory_map.low_end)]
    if memory_map.high_bytes:
        ranges.append((mm.BELOW_4G_END, memory_map.high_bytes))
    mapped = [
        _structure(19, _H_RANGE + n, _RANGE.pack(base // KIB, (base + size) // KIB - 1, _H_ARRAY, 1, 0, 0))
        for n, (base, size) in enumerate(ranges)
    ]
    return [
        _structure(16, _H_ARRAY, array),
        _structure(17, _H_MODULE, module, "DIMM 0", _PRODUCER),
        *mapped,
    ]
