"""MSI-X: interrupts as memory writes, one address and datum for each vector.

PCI Local Bus 3.0, section 6.8.2. The capability says where the table and the pending bit array
(PBA) are; both live in one BAR, whose device this is::

    message control    15 enable   14 mask all   10..0 table size - 1
    table entry        address (64)   data (32)   vector control (32): bit 0 masks the vector

A message that is masked waits as a pending bit and goes out when the mask is lifted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ringfence.devices.device import Record
from ringfence.devices.pci.capability import Capability

#: Sends one message: (address, data).
SendMsi = Callable[[int, int], None]

CAPABILITY_ID = 0x11
BAR_BYTES = 4096
PBA_OFFSET = 2048
VECTORS_MAX = PBA_OFFSET // 16

_ENABLE = 1 << 15
_MASK_ALL = 1 << 14
_ENTRY = struct.Struct("<QII")
_MASKED_ENTRY = _ENTRY.pack(0, 0, 1)


class MsiX(Capability):
    """The capability, and the device behind BAR ``bar`` that holds its table."""

    def __init__(self, name: str, vectors: int, bar: int, send: SendMsi) -> None:
        if not 1 <= vectors <= VECTORS_MAX:
            raise ValueError(f"{name}: {vectors} MSI-X vectors")
        body = struct.pack("<HII", vectors - 1, bar, PBA_OFFSET | bar)
        super().__init__(CAPABILITY_ID, body, (_ENABLE | _MASK_ALL).to_bytes(2, "little"))
        self.name = name
        self.vectors = vectors
        self._send = send
        self._table = bytearray(_MASKED_ENTRY * vectors)
        self._pending = 0

    @property
    def is_enabled(self) -> bool:
        return bool(self._control & _ENABLE)

    @property
    def _control(self) -> int:
        return int.from_bytes(self.registers[2:4], "little")

    def notify(self, vector: int) -> None:
        """Send the vector's message, or leave it pending while it is masked."""
        if self.is_enabled and vector < self.vectors:
            self._pending |= 1 << vector
            self._send_pending(vector)

    def after_write(self, offset: int, size_bytes: int) -> None:
        for vector in range(self.vectors):
            self._send_pending(vector)

    def _send_pending(self, vector: int) -> None:
        if not self._pending >> vector & 1 or self._control & (_ENABLE | _MASK_ALL) != _ENABLE:
            return
        address, data, control = _ENTRY.unpack_from(self._table, vector * _ENTRY.size)
        if not control & 1:
            self._pending &= ~(1 << vector)
            self._send(address, data)

    # The BAR.

    def read(self, offset: int, size_bytes: int) -> int:
        if offset + size_bytes <= len(self._table):
            return int.from_bytes(self._table[offset : offset + size_bytes], "little")
        if offset >= PBA_OFFSET:
            return self._pending >> 8 * (offset - PBA_OFFSET) & ((1 << 8 * size_bytes) - 1)
        return 0

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        if offset + size_bytes > len(self._table):
            return
        value &= (1 << 8 * size_bytes) - 1
        self._table[offset : offset + size_bytes] = value.to_bytes(size_bytes, "little")
        # An access of any size may end in the next entry.
        for vector in range(offset // _ENTRY.size, (offset + size_bytes - 1) // _ENTRY.size + 1):
            self._send_pending(vector)

    # State.

    def save(self) -> Record:
        return {"table": bytes(self._table), "pending": self._pending}

    def restore(self, record: Record) -> None:
        table, pending = record["table"], record["pending"]
        assert isinstance(table, bytes) and isinstance(pending, int)
        self._table[:] = table
        self._pending = pending

    def reset(self) -> None:
        self._table[:] = _MASKED_ENTRY * self.vectors
        self._pending = 0
