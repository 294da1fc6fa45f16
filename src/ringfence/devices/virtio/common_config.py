"""The common configuration structure: feature negotiation, status, queue set-up.

VIRTIO 1.2, sections 2.1 (status), 2.2 (features), 3.1 (initialization), 4.1.4.3 (the layout)::

    00  device_feature_select   04  device_feature
    08  driver_feature_select   0c  driver_feature
    10  config_msix_vector (16)     num_queues (16)
    14  device_status (8)           config_generation (8)      queue_select (16)
    18  queue_size (16)             queue_msix_vector (16)
    1c  queue_enable (16)           queue_notify_off (16)
    20  queue_desc (64)   28  queue_driver (64)   30  queue_device (64)

A write that is not one whole field, or that comes at a forbidden time, is ignored and counted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ringfence.core.dma.virtqueue import RING_EVENT_IDX, RING_INDIRECT_DESC, Virtqueue
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.devices.device import Record
from ringfence.devices.virtio.device import VirtioDevice

VERSION_1 = 1 << 32
NO_VECTOR = 0xFFFF
SIZE_BYTES = 0x38

ACKNOWLEDGE = 1
DRIVER = 2
DRIVER_OK = 4
FEATURES_OK = 8
NEEDS_RESET = 64
FAILED = 128
_DRIVER_BITS = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED

_LAYOUT = struct.Struct("<IIIIHHBBHHHHHQQQ")
#: A 64-bit field may be written whole or by halves.
_HALVES = ((0, 4), (4, 4), (0, 8))
ALL_64 = (1 << 64) - 1
_QUEUE_ADDRESSES = {0x20: "descriptors_gpa", 0x28: "available_gpa", 0x30: "used_gpa"}


@dataclass
class QueueEvents:
    """What a queue tells its transport."""

    #: used buffers wait for the driver, and it wants to know
    interrupt: Callable[[], None]
    #: the queue broke
    broken: Callable[[], None]
    #: call the device's `notify` again, soon and not from here
    again: Callable[[], None]


class CommonConfig:
    """The registers and the state machine behind them.

    ``interrupt(vector, is_config)`` is how the transport raises one; ``again(queue)`` makes it
    notify a queue once more, later.
    """

    def __init__(
        self,
        device: VirtioDevice,
        memory: GuestMemory,
        vectors: int,
        interrupt: Callable[[int, bool], None],
        again: Callable[[int], None],
    ) -> None:
        self._device = device
        self._vectors = vectors
        self._interrupt = interrupt
        self._again = again
        self.queues = [
            Virtqueue(memory, size, self._queue_events(index))
            for index, size in enumerate(device.queue_sizes)
        ]
        device.queues = self.queues
        device.config_changed = self._config_changed
        self.counters: Counter[str] = Counter()
        self._clear()

    def _clear(self) -> None:
        self.status = 0
        self._device_feature_select = 0
        self._driver_feature_select = 0
        self._driver_features = 0
        self._generation = 0
        self._queue_select = 0
        self._config_vector = NO_VECTOR
        self._queue_vectors = [NO_VECTOR] * len(self.queues)

    def _queue_events(self, index: int) -> QueueEvents:
        return QueueEvents(
            interrupt=lambda: self._interrupt(self._queue_vectors[index], False),
            broken=self._queue_broke,
            again=lambda: self._again(index),
        )

    @property
    def offered_features(self) -> int:
        return self._device.offered_features | VERSION_1 | RING_EVENT_IDX | RING_INDIRECT_DESC

    @property
    def is_running(self) -> bool:
        return self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK

    # What the device and its queues tell.

    def _config_changed(self) -> None:
        self._generation = (self._generation + 1) & 0xFF
        if self.status & DRIVER_OK:
            self._interrupt(self._config_vector, True)

    def _queue_broke(self) -> None:
        self.status |= NEEDS_RESET
        for queue in self.queues:
            queue.stop()
        if self.status & DRIVER_OK:
            self._interrupt(self._config_vector, True)

    # What the driver reads.

    def read(self, offset: int, size_bytes: int) -> int:
        return int.from_bytes(self._layout()[offset : offset + size_bytes], "little")

    def _layout(self) -> bytes:
        """The whole structure. A queue that does not exist has size 0, as the driver expects."""
        selected = self._queue_select
        size = vector = enabled = notify_off = descriptors = available = used = 0
        if selected < len(self.queues):
            queue = self.queues[selected]
            size, vector, enabled = queue.size, self._queue_vectors[selected], int(queue.is_enabled)
            notify_off = selected
            descriptors, available, used = queue.descriptors_gpa, queue.available_gpa, queue.used_gpa
        return _LAYOUT.pack(
            self._device_feature_select,
            _half(self.offered_features, self._device_feature_select),
            self._driver_feature_select,
            _half(self._driver_features, self._driver_feature_select),
            self._config_vector,
            len(self.queues),
            self.status,
            self._generation,
            selected,
            size,
            vector,
            enabled,
            notify_off,
            descriptors,
            available,
            used,
        )

    # What the driver writes.

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        value &= (1 << 8 * size_bytes) - 1
        match offset, size_bytes:
            case 0x00, 4:
                self._device_feature_select = value
            case 0x08, 4:
                self._driver_feature_select = value
            case 0x0C, 4:
                self._write_features(value)
            case 0x10, 2:
                self._config_vector = self._vector(value)
            case 0x14, 1:
                self._write_status(value)
            case 0x16, 2:
                self._queue_select = value
            case _ if offset >= 0x18 and self._queue_select < len(self.queues):
                self._write_queue(self.queues[self._queue_select], offset, size_bytes, value)
            case _:
                self._refuse()

    def _refuse(self) -> None:
        self.counters["register_write_ignored"] += 1

    def _vector(self, value: int) -> int:
        return value if value < self._vectors else NO_VECTOR

    def _write_features(self, value: int) -> None:
        select = self._driver_feature_select
        if select > 1 or self.status & FEATURES_OK:
            return self._refuse()
        kept = self._driver_features & ~(0xFFFF_FFFF << 32 * select)
        self._driver_features = kept | value << 32 * select

    def _write_status(self, value: int) -> None:
        if value == 0:
            return self.reset()
        new = value & _DRIVER_BITS & ~self.status
        self.status |= new & (ACKNOWLEDGE | DRIVER | FAILED)
        if new & FEATURES_OK:
            self._accept_features()
        if new & DRIVER_OK:
            self._start()

    def _accept_features(self) -> None:
        """FEATURES_OK stays off when the driver wants what was not offered, or is a legacy one."""
        features = self._driver_features
        if features & ~self.offered_features or not features & VERSION_1:
            return self._refuse()
        self._device.features = features
        self.status |= FEATURES_OK

    def _start(self) -> None:
        if not self.status & FEATURES_OK:
            return self._refuse()
        self.status |= DRIVER_OK
        for queue in self.queues:
            if queue.is_enabled and self.is_running:
                queue.start(self._device.features)
        # Some drivers fill and notify their queues before they say that they are ready.
        for index, queue in enumerate(self.queues):
            if queue.is_running:
                self._device.notify(index)

    def _write_queue(self, queue: Virtqueue, offset: int, size_bytes: int, value: int) -> None:
        if offset == 0x1A and size_bytes == 2:
            self._queue_vectors[self._queue_select] = self._vector(value)
        elif queue.is_enabled:
            self._refuse()
        elif offset == 0x18 and size_bytes == 2:
            if value & (value - 1) or not 0 < value <= queue.max_size:
                return self._refuse()
            queue.size = value
        elif offset == 0x1C and size_bytes == 2:
            if value != 1:
                return self._refuse()
            queue.is_enabled = True
            if self.is_running:
                queue.start(self._device.features)
        elif (name := _QUEUE_ADDRESSES.get(offset & ~7)) and (offset % 8, size_bytes) in _HALVES:
            shift = 8 * (offset % 8)
            kept = getattr(queue, name) & ~(((1 << 8 * size_bytes) - 1) << shift)
            setattr(queue, name, (kept | value << shift) & ALL_64)
        else:
            self._refuse()

    # State.

    def reset(self) -> None:
        self._clear()
        for queue in self.queues:
            queue.reset()
        self._device.features = 0
        self._device.reset()

    _SAVED = (
        "status", "_device_feature_select", "_driver_feature_select", "_driver_features",
        "_generation", "_queue_select", "_config_vector",
    )  # fmt: skip

    def save(self) -> Record:
        return {
            **{name.lstrip("_"): getattr(self, name) for name in self._SAVED},
            "features": self._device.features,
            "queue_vectors": list(self._queue_vectors),
            "queues": [queue.save() for queue in self.queues],
        }

    def restore(self, record: Record) -> None:
        for name in self._SAVED:
            setattr(self, name, record[name.lstrip("_")])
        features, vectors, queues = record["features"], record["queue_vectors"], record["queues"]
        assert isinstance(features, int) and isinstance(vectors, list) and isinstance(queues, list)
        self._device.features = features
        self._queue_vectors = list(vectors)
        for queue, state in zip(self.queues, queues, strict=True):
            queue.restore(state)

    def metrics(self) -> dict[str, int]:
        broken: Counter[str] = Counter(self.counters)
        for queue in self.queues:
            for reason, count in dict(queue.failures).items():
                broken["queue_broken: " + reason] += count
        return dict(broken)


def _half(features: int, select: int) -> int:
    return features >> 32 * select & 0xFFFF_FFFF if select < 2 else 0
