"""The bus: dispatch, splitting, overlaps, and what nobody claims."""

from __future__ import annotations

import pytest

from ringfence.devices.bus import UNCLAIMED_LIMIT, Bus
from ringfence.devices.device import Device, Record


class Memory:
    """A device that is a few bytes."""

    name = "memory"

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.accesses: list[tuple[int, int]] = []

    def read(self, offset: int, size_bytes: int) -> int:
        self.accesses.append((offset, size_bytes))
        return int.from_bytes(self.bytes[offset : offset + size_bytes], "little")

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self.accesses.append((offset, size_bytes))
        self.bytes[offset : offset + size_bytes] = value.to_bytes(size_bytes, "little")

    def save(self) -> Record:
        return {}

    def restore(self, record: Record) -> None: ...

    def reset(self) -> None: ...


@pytest.fixture
def bus() -> Bus:
    return Bus("io", 0x10000)


def test_a_device_sees_its_own_offsets(bus: Bus) -> None:
    device = Memory(16)
    assert isinstance(device, Device)
    bus.map(0x100, 4, device)
    bus.map(0x200, 4, device, offset=8)
    bus.write(0x102, 2, 0xBEEF)
    bus.write(0x200, 1, 0x77)
    assert device.bytes.hex() == "0000efbe00000000" + "7700000000000000"
    assert bus.read(0x102, 2) == 0xBEEF


def test_unclaimed_reads_are_ones_and_counted(bus: Bus) -> None:
    assert bus.read(0x300, 1) == 0xFF
    assert bus.read(0x300, 4) == 0xFFFF_FFFF
    bus.write(0x300, 1, 0)
    assert bus.unclaimed[0x300, False] == 2
    assert bus.unclaimed[0x300, True] == 1


def test_an_access_across_two_devices_is_split(bus: Bus) -> None:
    low, high = Memory(2), Memory(2)
    bus.map(0x10, 2, low)
    bus.map(0x12, 2, high)
    bus.write(0x10, 4, 0x4433_2211)
    assert (low.bytes.hex(), high.bytes.hex()) == ("1122", "3344")
    assert bus.read(0x10, 4) == 0x4433_2211
    assert bus.read(0x12, 4) == 0xFFFF_4433


def test_a_device_gets_only_the_bits_of_the_size(bus: Bus) -> None:
    device = Memory(4)
    bus.map(0, 4, device)
    bus.write(0, 1, 0x1FF)
    assert device.bytes.hex() == "ff000000"


@pytest.mark.parametrize(("base", "size"), [(0xFE, 4), (0x103, 4), (0x100, 4), (0x101, 1), (0xF0, 0x40)])
def test_overlaps_are_refused(bus: Bus, base: int, size: int) -> None:
    bus.map(0x100, 4, Memory(4))
    with pytest.raises(ValueError, match="overlaps"):
        bus.map(base, size, Memory(size))


@pytest.mark.parametrize(("base", "size"), [(-1, 1), (0, 0), (0xFFFF, 2)])
def test_ranges_off_the_bus_are_refused(bus: Bus, base: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such range"):
        bus.map(base, size, Memory(4))


def test_unmap(bus: Bus) -> None:
    bus.map(0x100, 4, Memory(4))
    bus.unmap(0x102)
    assert bus.find(0x100, 1) is not None
    bus.unmap(0x100)
    assert bus.find(0x100, 1) is None


def test_a_guest_can_not_grow_the_counters(bus: Bus) -> None:
    for port in range(2000):
        bus.read(port, 1)
    assert len(bus.unclaimed) <= UNCLAIMED_LIMIT + 2
    assert sum(bus.unclaimed.values()) == 2000
