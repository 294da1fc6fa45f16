"""virtio-blk: requests of every type and shape, against a disk in memory that can fail."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from fake_guest import BUFFERS_BASE, Driver, Machine

from ringfence.devices.virtio import blk
from ringfence.devices.virtio.blk import IOERR, OK, UNSUPP, Request, VirtioBlk
from ringfence.devices.virtio.common_config import NEEDS_RESET
from ringfence.errors import HostError

SECTORS = 64
HEADER = BUFFERS_BASE
DATA = BUFFERS_BASE + 0x1000
STATUS = BUFFERS_BASE + 0x8000
UNTOUCHED = 0xEE


class FakeDisk:
    def __init__(self, is_read_only: bool = False) -> None:
        self.data = bytearray(range(256)) * (SECTORS * 2)
        self.size_bytes = len(self.data)
        self.is_read_only = is_read_only
        self.is_failing = False
        self.calls: list[tuple[object, ...]] = []

    def _note(self, *call: object) -> None:
        if self.is_failing:
            raise HostError("disk on fire")
        self.calls.append(call)

    def read(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._note("read", offset, len(buffers))
        for buffer in buffers:
            buffer[:] = self.data[offset : offset + len(buffer)]
            offset += len(buffer)

    def write(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._note("write", offset, len(buffers))
        data = b"".join(buffers)
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self._note("flush")

    def discard(self, offset: int, n: int) -> None:
        self._note("discard", offset, n)

    def write_zeroes(self, offset: int, n: int, may_unmap: bool) -> None:
        self._note("write_zeroes", offset, n, may_unmap)

    def close(self) -> None: ...


FEATURES = blk.F_FLUSH | blk.F_DISCARD | blk.F_WRITE_ZEROES


@pytest.fixture
def disk() -> FakeDisk:
    return FakeDisk()


@pytest.fixture
def driver(disk: FakeDisk) -> Driver:
    driver = Driver(Machine(VirtioBlk("blk", disk, serial="ring-0001")))
    driver.start(FEATURES)
    return driver


def _request(
    driver: Driver, kind: int, sector: int = 0, data: bytes = b"", read_bytes: int = 0
) -> tuple[int, int]:
    """Header, data and status in buffers of their own; returns ``(status, used length)``."""
    memory = driver.memory
    memory.write(HEADER, struct.pack("<IIQ", kind, 0, sector))
    memory.write(STATUS, bytes([UNTOUCHED]))
    buffers = [(HEADER, 16, False)]
    if data:
        memory.write(DATA, data)
        buffers.append((DATA, len(data), False))
    if read_bytes:
        buffers.append((DATA, read_bytes, True))
    length = driver.request([*buffers, (STATUS, 1, True)])
    assert length is not None
    return memory.read(STATUS, 1)[0], length


def test_configuration(driver: Driver) -> None:
    assert driver.device_config(0, 8) == SECTORS
    assert driver.device_config(8, 4) == blk.SEGMENT_BYTES_MAX
    assert driver.device_config(12, 4) == blk.SEGMENTS_MAX
    assert driver.device_config(20, 4) == 512
    assert driver.device_config(36, 4) == driver.device_config(48, 4) == blk.RANGE_SECTORS_MAX
    assert driver.device_config(40, 4) == driver.device_config(52, 4) == blk.RANGES_MAX
    assert (driver.device_config(44, 4), driver.device_config(56, 1)) == (1, 1)
    assert driver.device_config(60, 4) == 0


def test_read_goes_straight_to_the_guest(driver: Driver, disk: FakeDisk) -> None:
    driver.memory.dirty.clear()
    assert _request(driver, Request.IN, sector=3, read_bytes=1024) == (OK, 1025)
    assert driver.memory.read(DATA, 1024) == disk.data[1536:2560]
    assert driver.memory.is_dirty(DATA, 1024)
    assert driver.memory.is_dirty(STATUS, 1)


def test_write_then_flush(driver: Driver, disk: FakeDisk) -> None:
    data = b"ringfenc" * 64
    assert _request(driver, Request.OUT, sector=SECTORS - 1, data=data) == (OK, 1)
    assert disk.data[-512:] == data
    assert _request(driver, Request.FLUSH) == (OK, 1)
    assert disk.calls == [("write", (SECTORS - 1) * 512, 1), ("flush",)]


def test_a_driver_without_flush_gets_write_through(driver: Driver, disk: FakeDisk) -> None:
    driver.start()
    assert _request(driver, Request.OUT, data=bytes(512)) == (OK, 1)
    assert disk.calls == [("write", 0, 1), ("flush",)]


def test_framing_does_not_matter(driver: Driver, disk: FakeDisk) -> None:
    """Header in three pieces, the last with data; status in the same buffer as data."""
    header = struct.pack("<IIQ", Request.OUT, 0, 5)
    data = bytes(reversed(range(256))) * 2
    driver.memory.write(HEADER, header[:7])
    driver.memory.write(HEADER + 64, header[7:9])
    driver.memory.write(DATA, header[9:] + data[:100])
    driver.memory.write(DATA + 0x800, data[100:])
    buffers = [(HEADER, 7, False), (HEADER + 64, 2, False), (DATA, 107, False), (DATA + 0x800, 412, False)]
    assert driver.request([*buffers, (STATUS, 1, True)]) == 1
    assert disk.data[5 * 512 : 6 * 512] == data

    driver.memory.write(HEADER, struct.pack("<IIQ", Request.IN, 0, 5))
    driver.memory.write(STATUS, bytes(16))
    assert driver.request([(HEADER, 16, False), (DATA, 500, True), (STATUS, 13, True)]) == 513
    assert driver.memory.read(DATA, 500) + driver.memory.read(STATUS, 12) == data
    assert driver.memory.read(STATUS + 12, 1) == b"\0"


def test_serial_number(driver: Driver) -> None:
    assert _request(driver, Request.GET_ID, read_bytes=20) == (OK, 21)
    assert driver.memory.read(DATA, 20) == b"ring-0001".ljust(20, b"\0")
    driver.memory.write(DATA, bytes(20))
    assert _request(driver, Request.GET_ID, read_bytes=4) == (OK, 5)
    assert driver.memory.read(DATA, 8) == b"ring\0\0\0\0"


@pytest.mark.parametrize("kind", [Request.DISCARD, Request.WRITE_ZEROES])
def test_ranges(driver: Driver, disk: FakeDisk, kind: Request) -> None:
    data = struct.pack("<QIIQII", 1, 2, 0, 8, 1, 0)
    assert _request(driver, kind, data=data) == (OK, 1)
    tail = () if kind == Request.DISCARD else (False,)
    name = kind.name.lower()
    assert disk.calls == [(name, 512, 1024, *tail), (name, 4096, 512, *tail)]


def test_write_zeroes_may_unmap(driver: Driver, disk: FakeDisk) -> None:
    assert _request(driver, Request.WRITE_ZEROES, data=struct.pack("<QII", 0, 1, 1)) == (OK, 1)
    assert disk.calls == [("write_zeroes", 0, 512, True)]


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        (Request.DISCARD, struct.pack("<QII", 0, 1, 1), UNSUPP),
        (Request.WRITE_ZEROES, struct.pack("<QII", 0, 1, 2), UNSUPP),
        (Request.DISCARD, struct.pack("<QII", SECTORS, 1, 0), IOERR),
        (Request.DISCARD, struct.pack("<QII", 2**64 - 1, 1, 0), IOERR),
        (Request.DISCARD, struct.pack("<QII", 0, 0, 0), IOERR),
        (Request.DISCARD, struct.pack("<QII", 0, blk.RANGE_SECTORS_MAX + 1, 0), IOERR),
        (Request.DISCARD, b"", IOERR),
        (Request.DISCARD, bytes(15), IOERR),
        (Request.DISCARD, struct.pack("<QII", 0, 1, 0) * (blk.RANGES_MAX + 1), IOERR),
        (Request.WRITE_ZEROES, struct.pack("<QIIQII", 0, 1, 0, SECTORS, 1, 0), IOERR),
    ],
)
def test_bad_ranges_change_nothing(
    driver: Driver, disk: FakeDisk, kind: Request, data: bytes, status: int
) -> None:
    assert _request(driver, kind, data=data) == (status, 1)
    assert disk.calls == []


def test_features_not_negotiated_are_not_served(driver: Driver, disk: FakeDisk) -> None:
    driver.start(blk.F_FLUSH)
    for kind in (Request.DISCARD, Request.WRITE_ZEROES):
        assert _request(driver, kind, data=struct.pack("<QII", 0, 1, 0))[0] == UNSUPP
    assert disk.calls == []


@pytest.mark.parametrize("kind", [2, 5, 7, 0x8000_0000])
def test_unknown_types(driver: Driver, kind: int) -> None:
    assert _request(driver, kind)[0] == UNSUPP
    assert driver.machine.function.metrics()["unsupported"] == 1


@pytest.mark.parametrize(
    ("sector", "n"), [(SECTORS, 512), (SECTORS - 1, 1024), (0, 511), (0, 513), (2**64 - 1, 512), (2**55, 512)]
)
def test_what_is_not_on_the_disk_is_an_error(driver: Driver, disk: FakeDisk, sector: int, n: int) -> None:
    assert _request(driver, Request.IN, sector, read_bytes=n) == (IOERR, 0)
    assert _request(driver, Request.OUT, sector, data=bytes(n))[0] == IOERR
    assert disk.calls == []


def test_data_is_required(driver: Driver) -> None:
    assert _request(driver, Request.IN)[0] == IOERR
    assert _request(driver, Request.OUT)[0] == IOERR


def test_a_read_only_disk_can_not_be_changed() -> None:
    disk = FakeDisk(is_read_only=True)
    driver = Driver(Machine(VirtioBlk("blk", disk)))
    assert driver.offered() & (blk.F_RO | blk.F_DISCARD | blk.F_WRITE_ZEROES) == blk.F_RO
    driver.start(blk.F_RO | blk.F_FLUSH)
    assert _request(driver, Request.OUT, data=bytes(512))[0] == IOERR
    assert _request(driver, Request.DISCARD, data=struct.pack("<QII", 0, 1, 0))[0] == UNSUPP
    assert disk.calls == []
    assert _request(driver, Request.IN, read_bytes=512)[0] == OK


def test_a_failing_host_is_an_io_error(driver: Driver, disk: FakeDisk) -> None:
    disk.is_failing = True
    assert _request(driver, Request.IN, read_bytes=512) == (IOERR, 0)
    assert _request(driver, Request.OUT, data=bytes(512))[0] == IOERR
    assert _request(driver, Request.FLUSH)[0] == IOERR
    disk.is_failing = False
    assert _request(driver, Request.IN, read_bytes=512) == (OK, 513)
    assert driver.machine.function.metrics()["errors"] == 3


@pytest.mark.parametrize("buffers", [[(HEADER, 16, False)], [(HEADER, 15, False), (STATUS, 1, True)]])
def test_no_room_for_header_or_status_breaks_the_queue(
    driver: Driver, buffers: list[tuple[int, int, bool]]
) -> None:
    assert driver.request(buffers) is None
    assert driver.status & NEEDS_RESET
