"""virtio-blk: a disk.

VIRTIO 1.2, section 5.2. A request is a 16-byte header, data, and a status byte at the very end::

    device-readable   type le32, reserved le32, sector le64, data of a write
    device-writable   data of a read, status u8

Data moves between the image and guest RAM in one system call, with no copy in between.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from ringfence.core.dma.chain import Chain
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.disk.backend import SECTOR_BYTES, DiskBackend
from ringfence.errors import HostError
from ringfence.units import KIB, MIB

F_SIZE_MAX = 1 << 1
F_SEG_MAX = 1 << 2
F_RO = 1 << 5
F_BLK_SIZE = 1 << 6
F_FLUSH = 1 << 9
F_DISCARD = 1 << 13
F_WRITE_ZEROES = 1 << 14

OK, IOERR, UNSUPP = 0, 1, 2


class Request(IntEnum):
    """The type in a request's header."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8
    DISCARD = 11
    WRITE_ZEROES = 13


QUEUE_SIZE = 256
#: Header and status take two descriptors of the queue.
SEGMENTS_MAX = QUEUE_SIZE - 2
SEGMENT_BYTES_MAX = 256 * KIB
#: What a driver that keeps to both limits never exceeds. It bounds the time of one request.
DATA_BYTES_MAX = SEGMENTS_MAX * SEGMENT_BYTES_MAX
ID_BYTES = 20
#: Discard and write-zeroes: ranges in one request, and sectors in one range. The image may
#: have to be written with real zeroes, so this too bounds the time of one request.
RANGES_MAX = 8
RANGE_SECTORS_MAX = 64 * MIB // SECTOR_BYTES

_HEADER = struct.Struct("<IIQ")
_RANGE = struct.Struct("<QII")
_RANGE_UNMAP = 1
_CONFIG = struct.Struct("<QIIHBBIBBHIBBHIIIIIB3x")


class VirtioBlk(VirtioDevice):
    """A disk with the content of ``backend``; ``serial`` is what the guest sees, 20 bytes at most."""

    device_type = 2
    class_code = 0x010000
    queue_sizes = (QUEUE_SIZE,)

    def __init__(self, name: str, backend: DiskBackend, serial: str = "") -> None:
        super().__init__(name)
        self._backend = backend
        self._serial = serial.encode("ascii", "replace")[:ID_BYTES].ljust(ID_BYTES, b"\0")

    # Configuration.

    @property
    def offered_features(self) -> int:
        features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH
        return features | (F_RO if self._backend.is_read_only else F_DISCARD | F_WRITE_ZEROES)

    def config(self) -> bytes:
        ranges = (RANGE_SECTORS_MAX, RANGES_MAX)
        return _CONFIG.pack(
            self._backend.size_bytes // SECTOR_BYTES,
            SEGMENT_BYTES_MAX,
            SEGMENTS_MAX,
            *(0, 0, 0),  # geometry: not offered
            SECTOR_BYTES,
            *(0, 0, 0, 0),  # topology: not offered
            *(0, 0, len(self.queue_sizes)),  # cache mode and queue count: not offered
            *(*ranges, 1),  # discard, with its alignment in sectors
            *(*ranges, 1),  # write zeroes, which may unmap
        )

    # Queues.

    def notify(self, index: int) -> None:
        queue = self.queues[index]
        for chain in queue.chains():
            if chain.readable_bytes < _HEADER.size or chain.writable_bytes < 1:
                queue.fail("block request without header or status")
                continue
            status, data_bytes = self._execute(chain)
            self.counters[("requests", "errors", "unsupported")[status]] += 1
            status_offset = chain.writable_bytes - 1
            chain.write(status_offset, bytes([status]))
            queue.push(chain, data_bytes + (data_bytes == status_offset))

    def _execute(self, chain: Chain) -> tuple[int, int]:
        """Do one request; returns its status and how much data it wrote to the guest."""
        kind, _, sector = _HEADER.unpack(chain.read(0, _HEADER.size))
        try:
            match kind:
                case Request.IN:
                    return self._read(chain, sector)
                case Request.OUT:
                    return self._write(chain, sector), 0
                case Request.FLUSH:
                    self._backend.flush()
                    return OK, 0
                case Request.GET_ID:
                    return OK, chain.write(0, self._serial[: chain.writable_bytes - 1])
                case Request.DISCARD | Request.WRITE_ZEROES:
                    return self._change_ranges(chain, kind), 0
        except HostError:
            return IOERR, 0
        return UNSUPP, 0

    def _read(self, chain: Chain, sector: int) -> tuple[int, int]:
        n = chain.writable_bytes - 1
        if not self._is_valid(sector, n):
            return IOERR, 0
        self._backend.read(sector * SECTOR_BYTES, chain.writable(0, n))
        chain.dirtied(0, n)
        self.counters["read_bytes"] += n
        return OK, n

    def _write(self, chain: Chain, sector: int) -> int:
        n = chain.readable_bytes - _HEADER.size
        if self._backend.is_read_only or not self._is_valid(sector, n):
            return IOERR
        self._backend.write(sector * SECTOR_BYTES, chain.readable(_HEADER.size, n))
        self.counters["written_bytes"] += n
        self._write_through()
        return OK

    def _is_valid(self, sector: int, n: int) -> bool:
        """Whole sectors, at least one, not too many, all on the disk."""
        if n % SECTOR_BYTES or not 0 < n <= DATA_BYTES_MAX:
            return False
        return sector * SECTOR_BYTES + n <= self._backend.size_bytes

    def _change_ranges(self, chain: Chain, kind: int) -> int:
        """Discard or write zeroes: the data is a list of ranges, checked whole before any is done."""
        if not self.features & (F_DISCARD if kind == Request.DISCARD else F_WRITE_ZEROES):
            return UNSUPP
        n = chain.readable_bytes - _HEADER.size
        if n % _RANGE.size or not 0 < n <= RANGES_MAX * _RANGE.size:
            return IOERR
        ranges = list(_RANGE.iter_unpack(chain.read(_HEADER.size, n)))
        for sector, sectors, flags in ranges:
            if flags & ~_RANGE_UNMAP or (kind == Request.DISCARD and flags):
                return UNSUPP
            end = (sector + sectors) * SECTOR_BYTES
            if not 0 < sectors <= RANGE_SECTORS_MAX or end > self._backend.size_bytes:
                return IOERR
        for sector, sectors, flags in ranges:
            offset, size = sector * SECTOR_BYTES, sectors * SECTOR_BYTES
            if kind == Request.DISCARD:
                self._backend.discard(offset, size)
            else:
                self._backend.write_zeroes(offset, size, bool(flags & _RANGE_UNMAP))
        self._write_through()
        return OK

    def _write_through(self) -> None:
        """A driver that does not know of flush believes that what is written is safe (5.2.6.2)."""
        if not self.features & F_FLUSH:
            self._backend.flush()
