"""The physical memory map keeps devices and RAM apart, for every size of RAM."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.board import memory_map as mm
from ringfence.board.memory_map import MemoryMap, RangeType
from ringfence.units import GIB, MIB, PAGE_BYTES

sizes = st.integers(2 * MIB // PAGE_BYTES, 256 * GIB // PAGE_BYTES).map(lambda pages: pages * PAGE_BYTES)


@given(sizes)
def test_the_e820_map_ascends_without_overlap(ram_bytes: int) -> None:
    ranges = MemoryMap(ram_bytes).e820()
    for below, above in itertools.pairwise(ranges):
        assert below.end <= above.base
    assert all(line.size_bytes > 0 for line in ranges)


@given(sizes)
def test_all_ram_but_the_first_mebibytes_holes_is_in_the_map(ram_bytes: int) -> None:
    usable = sum(line.size_bytes for line in MemoryMap(ram_bytes).e820() if line.type is RangeType.RAM)
    assert usable == ram_bytes - (mm.HIGH_BASE - mm.CONVENTIONAL_END)


@given(sizes)
def test_ram_stays_out_of_the_devices_addresses(ram_bytes: int) -> None:
    for line in MemoryMap(ram_bytes).e820():
        if line.type is RangeType.RAM:
            assert line.end <= mm.PCI_MEMORY_BASE or line.base >= mm.BELOW_4G_END


@pytest.mark.parametrize(
    ("ram", "low", "high"),
    [(512 * MIB, 512 * MIB, 0), (3 * GIB, 3 * GIB, 0), (4 * GIB, 3 * GIB, 1 * GIB)],
)
def test_ram_beyond_3_gib_is_above_4_gib(ram: int, low: int, high: int) -> None:
    map = MemoryMap(ram)
    assert (map.low_end, map.high_bytes) == (low, high)


def test_what_the_loader_leaves_is_in_conventional_memory_and_apart() -> None:
    places = [mm.BOOT_INFO, mm.BOOT_GDT, mm.BOOT_LISTS, mm.BOOT_PAGE_TABLES, mm.BOOT_COMMAND_LINE]
    assert places == sorted(set(places))
    assert mm.BOOT_PAGE_TABLES + 6 * PAGE_BYTES <= mm.BOOT_COMMAND_LINE
    assert mm.BOOT_COMMAND_LINE + mm.BOOT_COMMAND_LINE_BYTES <= mm.CONVENTIONAL_END
