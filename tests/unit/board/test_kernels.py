"""PVH, multiboot, raw code and firmware; and which file is taken for what."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from fake_machine import RAM_BYTES, FakeMemory, bzimage, elf_file, multiboot_header, pvh_note
from hypothesis import given
from hypothesis import strategies as st

from ringfence.board import elf, firmware, multiboot
from ringfence.board import memory_map as mm
from ringfence.board.entry import Entry
from ringfence.board.kernel import BootFiles, load_kernel
from ringfence.board.memory_map import MemoryMap
from ringfence.errors import ImageError
from ringfence.units import KIB, MIB

LOAD, NOTE = 1, 4
MAP = MemoryMap(RAM_BYTES)


def boot(
    memory: FakeMemory,
    tmp_path: Path,
    image: bytes,
    initrd: bytes | None = None,
    append: str = "",
    raw_at: int | None = None,
) -> Entry:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(image)
    if initrd is not None:
        (tmp_path / "initrd").write_bytes(initrd)
    files = BootFiles(kernel, tmp_path / "initrd" if initrd is not None else None, append, raw_at)
    return load_kernel(memory, MAP, files, rsdp=0xE0000)


# PVH


def pvh_kernel(entry: int = 0x10_0123, is_64_bit: bool = True) -> bytes:
    return elf_file(
        [(LOAD, 0x10_0000, b"code" * 64, 8192), (NOTE, 0, pvh_note(entry), 0)],
        is_64_bit,
        62 if is_64_bit else 3,
    )


@pytest.mark.parametrize("is_64_bit", [True, False])
def test_pvh(memory: FakeMemory, tmp_path: Path, is_64_bit: bool) -> None:
    entry = boot(memory, tmp_path, pvh_kernel(is_64_bit=is_64_bit), b"ramdisk", "quiet")
    assert memory.read(0x10_0000, 4) == b"code"
    assert entry.registers["rip"] == 0x10_0123
    assert entry.registers["cr0"] & (1 << 31 | 1) == 1
    assert entry.segments["cs"].attributes & 0x4000  # 32-bit
    info = entry.registers["rbx"]
    magic, version, _, modules = struct.unpack("<IIII", memory.read(info, 16))
    module_list, cmdline, rsdp, memmap = struct.unpack("<QQQQ", memory.read(info + 16, 32))
    assert (magic, version, modules, rsdp) == (0x336EC578, 1, 1, 0xE0000)
    assert memory.text(cmdline) == b"quiet"
    address, size = memory.u64(module_list), memory.u64(module_list + 8)
    assert memory.read(address, size) == b"ramdisk"
    lines = [struct.unpack("<QQI4x", memory.read(memmap + 24 * n, 24)) for n in range(memory.u32(info + 48))]
    assert lines == [tuple(line) for line in MAP.e820()]


# Multiboot


def test_multiboot_elf(memory: FakeMemory, tmp_path: Path) -> None:
    image = elf_file(
        [(LOAD, 0x10_0000, multiboot_header(3) + b"code", 8192)], is_64_bit=False, machine=3, entry=0x10_000C
    )
    entry = boot(memory, tmp_path, image, b"module", "one two")
    assert entry.registers["rip"] == 0x10_000C
    assert entry.registers["rax"] == 0x2BADB002
    info = entry.registers["rbx"]
    flags, lower, upper = struct.unpack("<III", memory.read(info, 12))
    assert flags == 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9
    assert (lower, upper) == (639, RAM_BYTES // KIB - 1024)
    assert memory.text(memory.u32(info + 16)) == str(tmp_path / "kernel").encode() + b" one two"
    assert memory.u32(info + 20) == 1
    start, end = struct.unpack("<II", memory.read(memory.u32(info + 24), 8))
    assert memory.read(start, end - start) == b"module"
    length, address = struct.unpack("<II", memory.read(info + 44, 8))
    lines = [struct.unpack("<IQQI", memory.read(address + at, 24)) for at in range(0, length, 24)]
    assert lines == [(20, *line) for line in MAP.e820()]
    assert memory.text(memory.u32(info + 64)) == b"Ringfence"


def test_multiboot_with_addresses_in_its_header(memory: FakeMemory, tmp_path: Path) -> None:
    header = multiboot_header(1 << 16, 0x20_0010, 0x20_0000, 0, 0x20_4000, 0x20_0040)
    memory.write(0x20_1000, bytes(8))
    entry = boot(memory, tmp_path, bytes(16) + header + b"flat")
    assert entry.registers["rip"] == 0x20_0040
    assert memory.read(0x20_0010 + len(header), 4) == b"flat"
    assert multiboot.INFO_MODULES & memory.u32(entry.registers["rbx"]) == 0


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (elf_file([(LOAD, 0x10_0000, multiboot_header(0), 64)]), "64-bit ELF"),
        (multiboot_header(0) + bytes(64), "no ELF file and has no load addresses"),
        (multiboot_header(8) + bytes(64), "needs features 0x8"),
        (multiboot_header(1 << 16, 0x10_0000, 0x20_0000, 0, 0, 0), "do not fit the file"),
        (multiboot_header(1 << 16, 0x10_0000, 0x10_0000, 0x11_0000, 0, 0), "truncated"),
        (multiboot_header(1 << 16, 0x9_0000, 0x9_0000, 0, 0, 0x9_0000) + bytes(64), "does not fit in memory"),
        (multiboot_header(1 << 16, 0, 0, 0, 0xFFFF_FFFF, 0), "does not fit in memory"),
        (multiboot_header(1 << 16, 0)[:16], "truncated"),
    ],
)
def test_multiboot_kernels_that_cannot_be_started(
    memory: FakeMemory, tmp_path: Path, image: bytes, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        boot(memory, tmp_path, image)


# Raw code and firmware


def test_raw_code_runs_in_real_mode(memory: FakeMemory, tmp_path: Path) -> None:
    entry = boot(memory, tmp_path, b"\xf4", raw_at=0x7C08)
    assert memory.read(0x7C08, 1) == b"\xf4"
    code = entry.segments["cs"]
    assert code.base + entry.registers["rip"] == 0x7C08
    assert code.base == code.selector << 4
    assert entry.registers["cr0"] & 1 == 0


def test_firmware_is_below_4_gib_and_below_1_mib(memory: FakeMemory) -> None:
    rom = bytes(n >> 12 & 0xFF for n in range(256 * KIB))
    entry = firmware.load(memory, rom, "rom")
    assert memory.roms[(1 << 32) - 256 * KIB] == rom
    assert memory.roms[0xE0000] == rom[128 * KIB :]
    code = entry.segments["cs"]
    assert (code.selector, code.base, entry.registers["rip"]) == (0xF000, 0xFFFF_0000, 0xFFF0)


def test_a_small_firmware_fills_the_end_of_the_first_mebibyte(memory: FakeMemory) -> None:
    firmware.load(memory, b"R" * 64 * KIB, "rom")
    assert memory.roms[0xE0000] == b"\xff" * 64 * KIB + b"R" * 64 * KIB


@pytest.mark.parametrize("size", [100, 4097, 17 * MIB])
def test_no_rom_image(memory: FakeMemory, size: int) -> None:
    with pytest.raises(ImageError, match="ROM image"):
        firmware.load(memory, bytes(size), "rom")


# Which file is taken for what


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "is empty"),
        (b"\x90", "not a Linux bzImage"),
        (bzimage()[:0x300], "truncated"),
        (b"MZ" + bzimage()[2:0x180], "truncated"),
        (b"MZ" + bytes(4096), "EFI program"),
        (b"#!/bin/sh\n" * 100, "not a Linux bzImage"),
        (bytes(0x38) + b"ARM\x64" + bytes(8192), r"another architecture \(64-bit ARM\)"),
        (elf_file([], machine=183), r"another architecture \(64-bit ARM\)"),
        (elf_file([], machine=50), r"another architecture \(IA-64\)"),
        (b"\x7fELF\x01\x02" + bytes(100), "big-endian"),
        (elf_file([(LOAD, 0x10_0000, b"x", 1)]), "without a PVH note"),
        (elf_file([(LOAD, 0x10_0000, b"x", 1)], kind=1), "not an executable"),
        (pvh_kernel()[:-8], "truncated"),
        (pvh_kernel()[:80], "truncated"),
        (elf_file([(LOAD, 0x10_0000, b"x", 1 << 40), (NOTE, 0, pvh_note(1), 0)]), "does not fit in memory"),
        (elf_file([(NOTE, 0, pvh_note(1), 0)]), "nothing to load"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (b"070701" + b"0" * 200, "an initrd"),
    ],
)
def test_files_that_are_no_kernel_for_this_machine(
    memory: FakeMemory, tmp_path: Path, image: bytes, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason) as raised:
        boot(memory, tmp_path, image)
    assert str(tmp_path / "kernel") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_and_strange_files(memory: FakeMemory, tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no", "No such file"), (tmp_path, "not a regular file")):
        with pytest.raises(ImageError, match=reason):
            load_kernel(memory, MAP, BootFiles(path), 0)
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bzimage())
    with pytest.raises(ImageError, match=r"initrd .*No such file"):
        load_kernel(memory, MAP, BootFiles(kernel, tmp_path / "no"), 0)


def test_a_file_larger_than_memory_is_not_even_read(memory: FakeMemory, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    with kernel.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="does not fit in memory"):
        load_kernel(memory, MAP, BootFiles(kernel), 0)


SHARED = FakeMemory()


@given(st.binary(max_size=300))
def test_an_elf_file_of_random_bytes(tail: bytes) -> None:
    try:
        file = elf.parse(b"\x7fELF" + tail)
        file.note(b"Xen", 18)
        list(file.loadable())
    except ImageError:
        pass


@given(
    st.sampled_from([pvh_kernel(), pvh_kernel(is_64_bit=False)]),
    st.dictionaries(st.integers(4, 250), st.integers(0, 255), max_size=6),
)
def test_a_damaged_elf_file(image: bytes, changes: dict[int, int]) -> None:
    damaged = bytearray(image)
    for offset, value in changes.items():
        damaged[offset] = value
    try:
        file = elf.parse(bytes(damaged))
        file.note(b"Xen", 18)
        for address, content, size in file.loadable():
            assert len(content) <= size and address >= 0
    except ImageError:
        pass


@given(st.integers(0, 0x1_FFFF), st.lists(st.integers(0, 0xFFFF_FFFF), max_size=5), st.binary(max_size=64))
def test_a_damaged_multiboot_kernel(flags: int, addresses: list[int], tail: bytes) -> None:
    image = multiboot_header(flags, *addresses) + tail
    header = multiboot.find_header(image)
    assert header is not None
    with contextlib.suppress(ImageError):
        multiboot.load(SHARED, MAP, image, header, b"module", b"cmdline")


def test_the_boot_parameters_are_not_overwritten(memory: FakeMemory, tmp_path: Path) -> None:
    low = elf_file([(LOAD, mm.BOOT_BASE - 4, b"12345678", 8), (NOTE, 0, pvh_note(1), 0)])
    with pytest.raises(ImageError, match="does not fit in memory"):
        boot(memory, tmp_path, low)
