"""Linux's boot protocol: what is where, and the state at the first instruction."""

from __future__ import annotations

import contextlib
import struct

import pytest
from fake_machine import RAM_BYTES, FakeMemory, bzimage
from hypothesis import given
from hypothesis import strategies as st

from ringfence.board import linux_boot
from ringfence.board import memory_map as mm
from ringfence.board.entry import Entry
from ringfence.board.memory_map import MemoryMap
from ringfence.errors import ImageError
from ringfence.units import MIB

RSDP = 0xE0000


def load(
    memory: FakeMemory, image: bytes, initrd: bytes = b"", cmdline: bytes = b"", ram: int = RAM_BYTES
) -> Entry:
    return linux_boot.load(memory, MemoryMap(ram), image, initrd, cmdline, RSDP)


def test_a_64_bit_kernel_starts_in_long_mode(memory: FakeMemory) -> None:
    entry = load(memory, bzimage(payload=bytes(range(256)) * 16))
    assert memory.read(0x100_0000, 256) == bytes(range(256))
    assert entry.registers["rip"] == 0x100_0200
    assert entry.registers["rsi"] == mm.BOOT_INFO
    assert entry.registers["efer"] == 1 << 8 | 1 << 10
    assert entry.registers["cr0"] & (1 << 31 | 1) == 1 << 31 | 1
    assert entry.registers["cr4"] == 1 << 5
    assert entry.registers["rflags"] == 2
    code = entry.segments["cs"]
    assert (code.selector, code.attributes & 0x2000, code.attributes & 0x4000) == (0x10, 0x2000, 0)
    assert {entry.segments[name].selector for name in ("ds", "es", "ss")} == {0x18}


def test_the_first_4_gib_are_mapped_to_themselves(memory: FakeMemory) -> None:
    entry = load(memory, bzimage())
    for address in (0, 0x9_0000, 0x100_0200, 0xBFFF_F000, 0xFEE0_0000, 0xFFFF_FFF0):
        table = entry.registers["cr3"]
        for shift in (39, 30):
            item = memory.u64(table + 8 * (address >> shift & 511))
            assert item & 3 == 3
            table = item & ~0xFFF
        leaf = memory.u64(table + 8 * (address >> 21 & 511))
        assert leaf & 0x83 == 0x83
        assert (leaf & ~0x1F_FFFF) | address & 0x1F_FFFF == address


def test_the_descriptor_table_holds_the_segments(memory: FakeMemory) -> None:
    entry = load(memory, bzimage())
    assert entry.gdtr is not None and entry.gdtr.limit == 31
    assert memory.u64(entry.gdtr.base + 0x10) == 0x00AF_9B00_0000_FFFF
    assert memory.u64(entry.gdtr.base + 0x18) == 0x00CF_9300_0000_FFFF


def test_an_older_kernel_starts_in_32_bit_mode(memory: FakeMemory) -> None:
    entry = load(memory, bzimage(xloadflags=0))
    assert entry.registers["rip"] == 0x100_0000
    assert entry.registers["cr0"] & (1 << 31 | 1) == 1
    assert [entry.registers[name] for name in ("rbp", "rdi", "rbx")] == [0, 0, 0]
    assert entry.gdtr is not None
    assert memory.u64(entry.gdtr.base + 0x10) == 0x00CF_9B00_0000_FFFF


def test_the_zero_page(memory: FakeMemory) -> None:
    load(memory, bzimage(), initrd=b"I" * 5000, cmdline=b"console=ttyS0")
    page = mm.BOOT_INFO
    assert memory.read(page + 0x202, 4) == b"HdrS"
    assert memory.read(page + 0x1EF, 1) == b"\0"  # a sentinel: not zero means a careless loader
    assert memory.read(page + 0x210, 1) == b"\xff"
    assert memory.text(memory.u32(page + 0x228)) == b"console=ttyS0"
    ramdisk, size = memory.u32(page + 0x218), memory.u32(page + 0x21C)
    assert memory.read(ramdisk, size) == b"I" * 5000 and ramdisk % 4096 == 0
    assert memory.u64(page + 0x70) == RSDP
    count = memory.read(page + 0x1E8, 1)[0]
    lines = [struct.unpack("<QQI", memory.read(page + 0x2D0 + 20 * n, 20)) for n in range(count)]
    assert lines == [tuple(line) for line in MemoryMap(RAM_BYTES).e820()]
    assert memory.read(page, 0x70) == bytes(0x70)  # no screen


def test_an_old_protocol_gets_no_rsdp(memory: FakeMemory) -> None:
    load(memory, bzimage(version=0x020D))
    assert memory.u64(mm.BOOT_INFO + 0x70) == 0


def test_the_initrd_is_high_but_below_the_kernels_limit(memory: FakeMemory) -> None:
    load(memory, bzimage(initrd_max=0x2FF_FFFF), initrd=b"I" * 4096)
    assert memory.u32(mm.BOOT_INFO + 0x218) == 0x2FF_F000
    load(memory, bzimage(), initrd=b"I" * 4096)
    assert memory.u32(mm.BOOT_INFO + 0x218) == RAM_BYTES - 4096


def test_the_last_paragraph_need_not_be_full(memory: FakeMemory) -> None:
    assert load(memory, bzimage()[:-15]).registers["rip"] == 0x100_0200


def test_a_relocatable_kernel_goes_low_in_a_small_machine(memory: FakeMemory) -> None:
    assert load(memory, bzimage(), ram=8 * MIB).registers["rip"] == 0x20_0200


@pytest.mark.parametrize(
    ("image", "initrd", "cmdline", "ram", "reason"),
    [
        (bzimage(init_bytes=100 * MIB), b"", b"", RAM_BYTES, "needs at least 102 MiB"),
        (bzimage(relocatable=0), b"", b"", 16 * MIB, "does not fit in memory"),
        (bzimage(), bytes(50 * MIB), b"", RAM_BYTES, "initrd .* does not fit"),
        (bzimage(cmdline_max=10), b"", b"12345678901", RAM_BYTES, "command line has 11 bytes; .* takes 10"),
        (bzimage(cmdline_max=1 << 31), b"", b"x" * 30000, RAM_BYTES, "command line"),
        (bzimage(version=0x0201), b"", b"", RAM_BYTES, "2.01, which is too old"),
        (bzimage(loadflags=0), b"", b"", RAM_BYTES, "too old"),
        (bzimage()[:-16], b"", b"", RAM_BYTES, "truncated"),
        (bzimage()[:0x230], b"", b"", RAM_BYTES, "truncated"),
    ],
)
def test_what_cannot_be_started(
    memory: FakeMemory, image: bytes, initrd: bytes, cmdline: bytes, ram: int, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        load(memory, image, initrd, cmdline, ram)


GOOD = bzimage()
SHARED = FakeMemory()


@given(
    st.dictionaries(st.integers(0x1F1, 0x268), st.integers(0, 255), max_size=12), st.integers(0, len(GOOD))
)
def test_a_damaged_kernel_is_refused_or_loaded(changes: dict[int, int], length: int) -> None:
    image = bytearray(GOOD)
    for offset, value in changes.items():
        image[offset] = value
    image = image[:length]
    if linux_boot.is_bzimage(image):
        with contextlib.suppress(ImageError):
            load(SHARED, bytes(image), b"initrd", b"cmdline")
