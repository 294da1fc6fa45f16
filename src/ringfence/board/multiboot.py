"""Starts a kernel by the Multiboot Specification 0.6.96.

The kernel has a header in its first 8 KiB: magic, flags, checksum, and with bit 16 of the flags the
addresses that its loader otherwise takes from the ELF headers.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ringfence.board import elf
from ringfence.board import memory_map as mm
from ringfence.board.entry import Entry, flat_segments, protected_mode
from ringfence.board.linux_boot import place_initrd
from ringfence.board.memory_map import MemoryMap
from ringfence.board.segments import load_segments, write_command_line
from ringfence.devices.dma import GuestMemory
from ringfence.errors import ImageError
from ringfence.units import KIB, PAGE_BYTES

HEADER_MAGIC = 0x1BAD_B002
LOADER_MAGIC = 0x2BAD_B002
SEARCH_BYTES = 8192
WANTS_PAGE_ALIGNED_MODULES, WANTS_MEMORY, WANTS_VIDEO, HAS_ADDRESSES = 1 << 0, 1 << 1, 1 << 2, 1 << 16
#: A loader must refuse what it does not know among these; a video mode is only ever a wish.
REQUIREMENTS = 0xFFFF
KNOWN_REQUIREMENTS = WANTS_PAGE_ALIGNED_MODULES | WANTS_MEMORY | WANTS_VIDEO

INFO_MEMORY, INFO_CMDLINE, INFO_MODULES, INFO_MMAP, INFO_LOADER = 1 << 0, 1 << 2, 1 << 3, 1 << 6, 1 << 9
_INFO_BYTES = 116
LOADER_NAME = b"Ringfence\0"
CODE_SELECTOR, DATA_SELECTOR = 0x08, 0x10


class Header(NamedTuple):
    """The header, and where in the file it is."""

    offset: int
    flags: int


def find_header(image: bytes) -> Header | None:
    for offset in range(0, min(len(image), SEARCH_BYTES) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", image, offset)
        if magic == HEADER_MAGIC and (magic + flags + checksum) & 0xFFFF_FFFF == 0:
            return Header(offset, flags)
    return None


def load(
    memory: GuestMemory, map: MemoryMap, image: bytes, header: Header, module: bytes, cmdline: bytes
) -> Entry:
    """Put the kernel, its module and the information structure into memory.

    Raises:
        ImageError: the kernel needs what this loader can't give, or something does not fit.
    """
    if unknown := header.flags & REQUIREMENTS & ~KNOWN_REQUIREMENTS:
        raise ImageError(f"a multiboot kernel that needs features {unknown:#x}, which are unknown")
    if header.flags & HAS_ADDRESSES:
        entry, segments = _addresses(image, header)
    else:
        entry, segments = _elf_segments(image)
    end = load_segments(memory, map, segments)
    write_command_line(memory, cmdline)
    modules = b""
    if module:
        address = place_initrd(len(module), -(-end // PAGE_BYTES) * PAGE_BYTES, map.low_end, map)
        memory.write(address, module)
        modules = struct.pack("<IIII", address, address + len(module), mm.BOOT_COMMAND_LINE + len(cmdline), 0)
    _write_info(memory, map, modules)
    return protected_mode(
        entry, flat_segments(CODE_SELECTOR, DATA_SELECTOR), rax=LOADER_MAGIC, rbx=mm.BOOT_INFO
    )


def _addresses(image: bytes, header: Header) -> tuple[int, list[tuple[int, bytes, int]]]:
    """The header's address fields: one piece, from a place in the file found by the header's own address."""
    try:
        fields = struct.unpack_from("<IIIII", image, header.offset + 12)
    except struct.error as error:
        raise ImageError("truncated: it ends inside the multiboot header") from error
    header_address, load, load_end, bss_end, entry = fields
    start = header.offset - (header_address - load)
    if header_address < load or start < 0 or start >= len(image):
        raise ImageError("damaged: its multiboot header has addresses that do not fit the file")
    size = load_end - load if load_end else len(image) - start
    content = image[start : start + max(size, 0)]
    if size <= 0 or len(content) < size:
        raise ImageError("truncated: less is in the file than its multiboot header says")
    return entry, [(load, content, max(size, bss_end - load))]


def _elf_segments(image: bytes) -> tuple[int, list[tuple[int, bytes, int]]]:
    if not elf.is_elf(image):
        raise ImageError("a multiboot kernel that is no ELF file and has no load addresses")
    file = elf.parse(image)
    if file.is_64_bit:
        raise ImageError("a multiboot kernel as 64-bit ELF: multiboot starts 32-bit kernels only")
    return file.entry, list(file.loadable())


def _write_info(memory: GuestMemory, map: MemoryMap, modules: bytes) -> None:
    mmap = b"".join(struct.pack("<IQQI", 20, *line) for line in map.e820())
    lists = mm.BOOT_LISTS
    memory.write(lists, mmap)
    module_list = lists + len(mmap)
    memory.write(module_list, modules)
    name = module_list + len(modules)
    memory.write(name, LOADER_NAME)
    flags = INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_LOADER | (INFO_MODULES if modules else 0)
    info = struct.pack(
        "<IIIIIII16xII12xI".replace(" ", ""),
        flags,
        mm.CONVENTIONAL_END // KIB, (map.low_end - mm.HIGH_BASE) // KIB,
        0,
        mm.BOOT_COMMAND_LINE,
        1 if modules else 0, module_list,
        len(mmap), lists,
        name,
    )  # fmt: skip
    memory.write(mm.BOOT_INFO, info.ljust(_INFO_BYTES, b"\0"))
