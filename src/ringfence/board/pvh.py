"""Starts an ELF kernel by PVH, Xen's direct boot of virtual machines.

Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h. A note names the 32-bit entry; EBX points
to a structure that lists modules, command line, memory map and the ACPI root pointer::

     0  magic, version, flags, module count (32 bits each)
    16  module list, command line, RSDP, memory map (64 bits each)
    48  memory map entries, reserved (32 bits each)
"""

from __future__ import annotations

import struct

from ringfence.board import memory_map as mm
from ringfence.board.elf import Elf
from ringfence.board.entry import Entry, flat_segments, protected_mode
from ringfence.board.linux_boot import place_initrd
from ringfence.board.memory_map import MemoryMap
from ringfence.board.segments import load_segments, write_command_line
from ringfence.devices.dma import GuestMemory
from ringfence.units import PAGE_BYTES

NOTE_OWNER = b"Xen"
NOTE_PHYS32_ENTRY = 18
MAGIC = 0x336E_C578
CODE_SELECTOR, DATA_SELECTOR = 0x10, 0x18


def entry_point(elf: Elf) -> int | None:
    """The PVH entry of a kernel that has one."""
    note = elf.note(NOTE_OWNER, NOTE_PHYS32_ENTRY)
    if note is None or len(note) not in (4, 8):
        return None
    return int.from_bytes(note, "little") & 0xFFFF_FFFF


def load(memory: GuestMemory, map: MemoryMap, elf: Elf, initrd: bytes, cmdline: bytes, rsdp: int) -> Entry:
    """Put the kernel and its parameters into memory.

    Raises:
        ImageError: something does not fit.
    """
    entry = entry_point(elf)
    assert entry is not None
    end = load_segments(memory, map, elf.loadable())
    write_command_line(memory, cmdline)
    e820 = map.e820()
    table = mm.BOOT_LISTS
    memory.write(table, b"".join(struct.pack("<QQII", *line, 0) for line in e820))
    modules = table + PAGE_BYTES
    if initrd:
        address = place_initrd(len(initrd), end, map.low_end, map)
        memory.write(address, initrd)
        memory.write(modules, struct.pack("<QQQQ", address, len(initrd), 0, 0))
    count = 1 if initrd else 0
    info = struct.pack(
        "<IIII QQQQ II".replace(" ", ""),
        MAGIC, 1, 0, count,
        modules if count else 0, mm.BOOT_COMMAND_LINE, rsdp, table, len(e820), 0,
    )  # fmt: skip
    memory.write(mm.BOOT_INFO, info)
    return protected_mode(entry, flat_segments(CODE_SELECTOR, DATA_SELECTOR), rbx=mm.BOOT_INFO)
