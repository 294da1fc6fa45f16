"""What every virtio device is made of, whatever carries it.

VIRTIO 1.2, section 2.1. Each kind is one module with the same parts in the same order:
configuration, queues, state, metrics. The transport owns the queues and negotiates features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar

from ringfence.core.dma.virtqueue import Virtqueue
from ringfence.devices.device import Record


def _ignore() -> None:
    pass


class VirtioDevice(ABC):
    """A device without its transport."""

    #: VIRTIO 1.2, chapter 5
    device_type: ClassVar[int]
    #: PCI base class, sub-class, programming interface
    class_code: ClassVar[int]
    #: the largest size of each queue, powers of two
    queue_sizes: tuple[int, ...]

    def __init__(self, name: str) -> None:
        self.name = name
        self.queues: Sequence[Virtqueue] = ()
        #: what driver and device agreed on
        self.features = 0
        #: tells the driver that the configuration changed; the transport fills it in
        self.config_changed: Callable[[], None] = _ignore
        self.counters: Counter[str] = Counter()

    # Configuration.

    @property
    @abstractmethod
    def offered_features(self) -> int:
        """The device's own feature bits, without those of rings and transport."""

    @abstractmethod
    def config(self) -> bytes:
        """The device configuration structure."""

    def write_config(self, offset: int, data: bytes) -> None:  # noqa: B027 (most have no writable field)
        """The driver wrote configuration bytes."""

    # Queues.

    @abstractmethod
    def notify(self, index: int) -> None:
        """Virtqueue ``index`` may have new buffers, now that the driver is ready."""

    # State.

    def save(self) -> Record:
        return {}

    def restore(self, record: Record) -> None:  # noqa: B027 (a device may have no state of its own)
        """Take over what `save` returned."""

    def reset(self) -> None:  # noqa: B027 (a device may have no state of its own)
        """The driver reset the device; queues and features are reset already."""

    # Metrics.

    def metrics(self) -> dict[str, int]:
        return dict(self.counters)
