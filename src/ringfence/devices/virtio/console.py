"""virtio-console: one port, bytes in and bytes out.

VIRTIO 1.2, section 5.3, without the multiport feature: queue 0 receives, queue 1 transmits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ringfence.devices.device import Record
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.units import KIB, MIB

F_SIZE = 1 << 0
F_EMERG_WRITE = 1 << 2

RECEIVE, TRANSMIT = 0, 1
#: Input that waits for a guest that does not read.
INPUT_BYTES_MAX = 64 * KIB
#: Output of one request; the rest of a longer one is dropped and counted, so that overlapping
#: buffers can't make a terabyte out of a megabyte.
OUTPUT_BYTES_MAX = MIB

_CONFIG = struct.Struct("<HHII")
_EMERGENCY_OFFSET = 8


class VirtioConsole(VirtioDevice):
    """A terminal line: ``sink`` takes what the guest prints, `feed` types."""

    device_type = 3
    class_code = 0x078000
    queue_sizes = (64, 64)

    def __init__(self, name: str, sink: Callable[[bytes], None], columns: int = 80, rows: int = 25) -> None:
        super().__init__(name)
        self._sink = sink
        self._size = (columns, rows)
        self._input = bytearray()

    # Configuration.

    @property
    def offered_features(self) -> int:
        return F_SIZE | F_EMERG_WRITE

    def config(self) -> bytes:
        return _CONFIG.pack(*self._size, 1, 0)

    def write_config(self, offset: int, data: bytes) -> None:
        """Emergency write: a character with no queue, for a driver that has not got that far."""
        if offset == _EMERGENCY_OFFSET:
            self._sink(data[:1])

    def resize(self, columns: int, rows: int) -> None:
        self._size = (columns & 0xFFFF, rows & 0xFFFF)
        self.config_changed()

    # Queues.

    def notify(self, index: int) -> None:
        if index == RECEIVE:
            self._deliver()
            return
        queue = self.queues[TRANSMIT]
        for chain in queue.chains():
            data = chain.read(0, OUTPUT_BYTES_MAX)
            self.counters["output_bytes"] += len(data)
            self.counters["output_dropped_bytes"] += chain.readable_bytes - len(data)
            self._sink(data)
            queue.push(chain, 0)

    def feed(self, data: bytes) -> int:
        """Type ``data``; returns how much of it there was room for."""
        taken = data[: INPUT_BYTES_MAX - len(self._input)]
        self._input += taken
        self._deliver()
        return len(taken)

    def _deliver(self) -> None:
        if not self.queues:
            return
        queue = self.queues[RECEIVE]
        while self._input and (chain := queue.pop()):
            written = chain.write(0, bytes(self._input[: chain.writable_bytes]))
            del self._input[:written]
            self.counters["input_bytes"] += written
            queue.push(chain, written)
        queue.signal()

    # State.

    def save(self) -> Record:
        return {"input": bytes(self._input), "size": list(self._size)}

    def restore(self, record: Record) -> None:
        pending, size = record["input"], record["size"]
        assert isinstance(pending, bytes) and isinstance(size, list)
        self._input[:] = pending
        self._size = (size[0], size[1])
