"""A machine's memory as a bytearray, and small kernels of every kind."""

from __future__ import annotations

import struct

from ringfence.units import MIB

RAM_BYTES = 64 * MIB


class FakeMemory:
    """RAM from 0 up, and what was added as ROM."""

    def __init__(self, size_bytes: int = RAM_BYTES) -> None:
        self.ram = bytearray(size_bytes)
        self.roms: dict[int, bytes] = {}

    def read(self, gpa: int, n: int) -> bytes:
        assert gpa >= 0 and gpa + n <= len(self.ram)
        return bytes(self.ram[gpa : gpa + n])

    def write(self, gpa: int, data: bytes) -> None:
        assert gpa >= 0 and gpa + len(data) <= len(self.ram)
        self.ram[gpa : gpa + len(data)] = data

    def contains(self, gpa: int, n: int) -> bool:
        return gpa >= 0 and gpa + n <= len(self.ram)

    def view(self, gpa: int, n: int) -> memoryview:
        return memoryview(self.ram)[gpa : gpa + n]

    def dirtied(self, gpa: int, n: int) -> None:
        pass

    def add_rom(self, gpa: int, data: bytes) -> None:
        self.roms[gpa] = data

    def u32(self, gpa: int) -> int:
        return int(struct.unpack("<I", self.read(gpa, 4))[0])

    def u64(self, gpa: int) -> int:
        return int(struct.unpack("<Q", self.read(gpa, 8))[0])

    def text(self, gpa: int) -> bytes:
        return bytes(self.ram[gpa : self.ram.index(0, gpa)])


def bzimage(
    version: int = 0x020F,
    xloadflags: int = 1,
    payload: bytes = b"\x90" * 4096,
    preferred: int = 0x100_0000,
    init_bytes: int = 0x20_0000,
    cmdline_max: int = 2047,
    initrd_max: int = 0x7FFF_FFFF,
    relocatable: int = 1,
    loadflags: int = 1,
) -> bytes:
    """A Linux kernel's outside: two setup sectors and a payload."""
    image = bytearray(3 * 512)
    image[0x1F1] = 2
    struct.pack_into("<I", image, 0x1F4, len(payload) // 16)
    image[0x1FE:0x202] = b"\x55\xaa\xeb\x6a"
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, version)
    image[0x211] = loadflags
    struct.pack_into("<III", image, 0x22C, initrd_max, 0x20_0000, 0)
    image[0x234] = relocatable
    struct.pack_into("<HI", image, 0x236, xloadflags, cmdline_max)
    struct.pack_into("<QI", image, 0x258, preferred, init_bytes)
    return bytes(image) + payload


def elf_file(
    segments: list[tuple[int, int, bytes, int]],
    is_64_bit: bool = True,
    machine: int = 62,
    entry: int = 0x10_0000,
    kind: int = 2,
) -> bytes:
    """An executable; each segment is (type, physical address, content, size in memory)."""
    header_bytes, entry_bytes = (64, 56) if is_64_bit else (52, 32)
    ident = b"\x7fELF" + bytes([2 if is_64_bit else 1, 1, 1]).ljust(12, b"\0")
    code = "<HHIQQQIHHHHHH" if is_64_bit else "<HHIIIIIHHHHHH"
    header = ident + struct.pack(
        code, kind, machine, 1, entry, header_bytes, 0, 0, header_bytes, entry_bytes, len(segments), 0, 0, 0
    )
    offset = header_bytes + entry_bytes * len(segments)
    table, contents = b"", b""
    for type_, address, content, size in segments:
        at = offset + len(contents)
        if is_64_bit:
            table += struct.pack("<IIQQQQQQ", type_, 7, at, address, address, len(content), size, 4096)
        else:
            table += struct.pack("<IIIIIIII", type_, at, address, address, len(content), size, 7, 4096)
        contents += content
    return header + table + contents


def pvh_note(entry: int) -> bytes:
    return struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", entry)


def multiboot_header(flags: int, *addresses: int) -> bytes:
    magic = 0x1BADB002
    return struct.pack(f"<III{len(addresses)}I", magic, flags, -(magic + flags) & 0xFFFF_FFFF, *addresses)
