"""Starts a Linux bzImage: the kernel's Documentation/arch/x86/boot.rst and zero-page.rst.

A bzImage is a real-mode setup part, of which only the *setup header* matters here, and a protected-mode
part that unpacks the kernel. The loader copies the header into the *zero page* (struct boot_params), fills in
where it put command line, initrd and memory map, and enters in 64-bit mode where the kernel has an
entry for that, else in 32-bit mode.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from ringfence.board import memory_map as mm
from ringfence.board.entry import (
    CR0_ET,
    CR0_PE,
    CR0_PG,
    CR4_PAE,
    EFER_LMA,
    EFER_LME,
    RFLAGS_FIXED,
    SEGMENT_64,
    Entry,
    TableRegister,
    flat_segments,
)
from ringfence.board.memory_map import MemoryMap, Range
from ringfence.devices.dma import GuestMemory
from ringfence.errors import ImageError
from ringfence.units import MIB, PAGE_BYTES

SECTOR_BYTES = 512
#: The unit of the payload's size: the last one need not be full.
PARAGRAPH_BYTES = 16
HEADER_OFFSET = 0x1F1
HEADER_MIN_BYTES = 0x250 - HEADER_OFFSET
#: The setup part is at most this long: 64 sectors after the boot sector.
SETUP_MAX_BYTES = 65 * SECTOR_BYTES

# Offsets in the file and, alike, in the zero page.
SETUP_SECTS = 0x1F1
SYSSIZE = 0x1F4
VID_MODE = 0x1FA
BOOT_FLAG = 0x1FE
JUMP = 0x200
MAGIC = 0x202
VERSION = 0x206
TYPE_OF_LOADER = 0x210
LOADFLAGS = 0x211
CODE32_START = 0x214
RAMDISK_IMAGE = 0x218
RAMDISK_SIZE = 0x21C
HEAP_END_PTR = 0x224
CMD_LINE_PTR = 0x228
INITRD_ADDR_MAX = 0x22C
KERNEL_ALIGNMENT = 0x230
RELOCATABLE_KERNEL = 0x234
XLOADFLAGS = 0x236
CMDLINE_SIZE = 0x238
PREF_ADDRESS = 0x258
INIT_SIZE = 0x260
# Offsets in the zero page only.
ACPI_RSDP_ADDR = 0x070
ALT_MEM_K = 0x1E0
E820_ENTRIES = 0x1E8
E820_TABLE = 0x2D0
E820_MAX = 128

LOADED_HIGH = 1 << 0
CAN_USE_HEAP = 1 << 7
XLF_KERNEL_64 = 1 << 0
LOADER_UNDEFINED = 0xFF
VID_MODE_NORMAL = 0xFFFF
ENTRY_64_OFFSET = 0x200

CODE_SELECTOR = 0x10
DATA_SELECTOR = 0x18
DEFAULT_ADDRESS = 0x10_0000
DEFAULT_INITRD_MAX = 0x37FF_FFFF
DEFAULT_CMDLINE_MAX = 255


class Header(NamedTuple):
    """The setup header's facts, with the protocol's defaults where the kernel is older."""

    version: int
    setup_bytes: int
    payload_bytes: int
    has_64_bit_entry: bool
    is_relocatable: bool
    alignment: int
    preferred_address: int
    init_bytes: int
    initrd_max: int
    cmdline_max: int


def is_bzimage(image: bytes) -> bool:
    return image[MAGIC : MAGIC + 4] == b"HdrS" and image[BOOT_FLAG : BOOT_FLAG + 2] == b"\x55\xaa"


def parse(image: bytes) -> Header:
    """The header of a file for which `is_bzimage` holds.

    Raises:
        ImageError: truncated, or of a kind that predates bzImage.
    """
    if len(image) < HEADER_OFFSET + HEADER_MIN_BYTES:
        raise ImageError("truncated: it ends inside the setup header")
    (version,) = struct.unpack_from("<H", image, VERSION)
    if version < 0x0202 or not image[LOADFLAGS] & LOADED_HIGH:
        protocol = f"{version >> 8}.{version & 0xFF:02}"
        raise ImageError(f"a Linux kernel of boot protocol {protocol}, which is too old")
    setup_bytes = ((image[SETUP_SECTS] or 4) + 1) * SECTOR_BYTES
    (paragraphs,) = struct.unpack_from("<I", image, SYSSIZE)
    payload_bytes = paragraphs * PARAGRAPH_BYTES if version >= 0x0204 else max(len(image) - setup_bytes, 0)
    expected = setup_bytes + payload_bytes
    if payload_bytes == 0 or len(image) + PARAGRAPH_BYTES <= expected:
        raise ImageError(f"truncated: {len(image)} bytes of a Linux kernel of {expected}")

    def since(required: int, code: str, offset: int, default: int) -> int:
        return int(struct.unpack_from(code, image, offset)[0]) if version >= required else default

    return Header(
        version=version,
        setup_bytes=setup_bytes,
        payload_bytes=payload_bytes,
        has_64_bit_entry=bool(since(0x020C, "<H", XLOADFLAGS, 0) & XLF_KERNEL_64),
        is_relocatable=bool(since(0x0205, "<B", RELOCATABLE_KERNEL, 0)),
        alignment=max(since(0x0205, "<I", KERNEL_ALIGNMENT, PAGE_BYTES), PAGE_BYTES),
        preferred_address=since(0x020A, "<Q", PREF_ADDRESS, DEFAULT_ADDRESS),
        init_bytes=max(since(0x020A, "<I", INIT_SIZE, 0), payload_bytes),
        initrd_max=since(0x0203, "<I", INITRD_ADDR_MAX, DEFAULT_INITRD_MAX),
        cmdline_max=since(0x0206, "<I", CMDLINE_SIZE, DEFAULT_CMDLINE_MAX),
    )


def load(
    memory: GuestMemory, map: MemoryMap, image: bytes, initrd: bytes, cmdline: bytes, rsdp: int
) -> Entry:
    """Put a bzImage and its parameters into memory.

    Raises:
        ImageError: the kernel is damaged or too old, or something does not fit.
    """
    header = parse(image)
    kernel = _place_kernel(header, map)
    memory.write(kernel, image[header.setup_bytes : header.setup_bytes + header.payload_bytes])
    ramdisk = 0
    if initrd:
        ramdisk = place_initrd(len(initrd), kernel + header.init_bytes, header.initrd_max + 1, map)
        memory.write(ramdisk, initrd)
    limit = min(header.cmdline_max, mm.BOOT_COMMAND_LINE_BYTES - 1)
    if len(cmdline) > limit:
        raise ImageError(f"the command line has {len(cmdline)} bytes; this kernel takes {limit}")
    memory.write(mm.BOOT_COMMAND_LINE, cmdline + b"\0")
    memory.write(
        mm.BOOT_INFO, zero_page(image, header, kernel, (ramdisk, len(initrd)), map.e820(), map, rsdp)
    )
    return _enter_64(memory, kernel) if header.has_64_bit_entry else _enter_32(memory, kernel)


def _place_kernel(header: Header, map: MemoryMap) -> int:
    ram = map.high_ram()
    addresses = [header.preferred_address]
    if header.is_relocatable:
        addresses.append(_align_up(ram.base, header.alignment))
    for address in addresses:
        if ram.base <= address and address + header.init_bytes <= ram.end:
            return address
    need = min(addresses) + header.init_bytes
    raise ImageError(f"does not fit in memory: this kernel needs at least {_align_up(need, MIB) >> 20} MiB")


def place_initrd(size: int, above: int, below: int, map: MemoryMap) -> int:
    """The highest page below a limit, as boot loaders choose it, and clear of the kernel."""
    address = (min(below, map.low_end) - size) & -PAGE_BYTES
    if address < above:
        raise ImageError(
            f"the initrd ({_align_up(size, MIB) >> 20} MiB) does not fit in memory beside this kernel"
        )
    return address


def zero_page(
    image: bytes,
    header: Header,
    kernel: int,
    ramdisk: tuple[int, int],
    e820: Sequence[Range],
    map: MemoryMap,
    rsdp: int,
) -> bytes:
    """struct boot_params: the kernel's own setup header, then what the loader knows.

    The screen's fields stay zero: no display.
    """
    page = bytearray(PAGE_BYTES)
    # The jump at 0x200 skips the header, so its second byte tells how long the header is.
    header_end = min(JUMP + 2 + image[JUMP + 1], E820_TABLE - 0x40)
    page[HEADER_OFFSET:header_end] = image[HEADER_OFFSET:header_end]
    struct.pack_into("<H", page, VID_MODE, VID_MODE_NORMAL)
    page[TYPE_OF_LOADER] = LOADER_UNDEFINED
    page[LOADFLAGS] |= CAN_USE_HEAP
    struct.pack_into("<I", page, CODE32_START, kernel)
    struct.pack_into("<II", page, RAMDISK_IMAGE, *ramdisk)
    struct.pack_into("<H", page, HEAP_END_PTR, 0xFE00)
    struct.pack_into("<I", page, CMD_LINE_PTR, mm.BOOT_COMMAND_LINE)
    struct.pack_into("<I", page, ALT_MEM_K, (map.low_end - MIB) >> 10)
    if header.version >= 0x020E:
        struct.pack_into("<Q", page, ACPI_RSDP_ADDR, rsdp)
    page[E820_ENTRIES] = len(e820[:E820_MAX])
    for number, line in enumerate(e820[:E820_MAX]):
        struct.pack_into("<QQI", page, E820_TABLE + 20 * number, *line)
    return bytes(page)


def _enter_32(memory: GuestMemory, kernel: int) -> Entry:
    segments = flat_segments(CODE_SELECTOR, DATA_SELECTOR)
    gdtr = _write_gdt(memory, segments["cs"].descriptor, segments["ds"].descriptor)
    registers = {
        "cr0": CR0_ET | CR0_PE, "rflags": RFLAGS_FIXED, "rip": kernel, "rsi": mm.BOOT_INFO,
        "rbp": 0, "rdi": 0, "rbx": 0,
    }  # fmt: skip
    return Entry(registers, segments, gdtr, TableRegister(0, 0))


def _enter_64(memory: GuestMemory, kernel: int) -> Entry:
    segments = flat_segments(CODE_SELECTOR, DATA_SELECTOR, SEGMENT_64)
    gdtr = _write_gdt(memory, segments["cs"].descriptor, segments["ds"].descriptor)
    registers = {
        "efer": EFER_LME | EFER_LMA, "cr3": _write_page_tables(memory), "cr4": CR4_PAE,
        "cr0": CR0_ET | CR0_PE | CR0_PG, "rflags": RFLAGS_FIXED, "rip": kernel + ENTRY_64_OFFSET,
        "rsi": mm.BOOT_INFO,
    }  # fmt: skip
    return Entry(registers, segments, gdtr, TableRegister(0, 0))


def _write_gdt(memory: GuestMemory, code: int, data: int) -> TableRegister:
    table = struct.pack("<4Q", 0, 0, code, data)
    memory.write(mm.BOOT_GDT, table)
    return TableRegister(mm.BOOT_GDT, len(table) - 1)


def _write_page_tables(memory: GuestMemory) -> int:
    """Map the first 4 GiB to themselves, in pages of 2 MiB; returns the root's address."""
    present_writable, large = 0b11, 1 << 7
    root = mm.BOOT_PAGE_TABLES
    directories = [root + PAGE_BYTES * (2 + n) for n in range(4)]
    memory.write(root, struct.pack("<Q", root + PAGE_BYTES | present_writable))
    memory.write(root + PAGE_BYTES, struct.pack("<4Q", *(base | present_writable for base in directories)))
    for number, base in enumerate(directories):
        first = number << 30
        entries = (first + (n << 21) | present_writable | large for n in range(512))
        memory.write(base, struct.pack("<512Q", *entries))
    return root


def _align_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
