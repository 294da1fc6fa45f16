"""virtio-rng: entropy.

VIRTIO 1.2, section 5.4. The driver gives writable buffers, the device fills them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ringfence.devices.virtio.device import VirtioDevice
from ringfence.units import KIB

#: The most random bytes in one request: a longer buffer is filled in part, as the standard
#: allows, so that a guest can't keep the host's generator busy with one descriptor.
REQUEST_BYTES_MAX = 64 * KIB


class VirtioRng(VirtioDevice):
    """``source(n)`` returns n random bytes and does not wait."""

    device_type = 4
    class_code = 0x00FF00
    queue_sizes = (64,)

    def __init__(self, name: str, source: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(name)
        self._source = source

    # Configuration.

    @property
    def offered_features(self) -> int:
        return 0

    def config(self) -> bytes:
        return b""

    # Queues.

    def notify(self, index: int) -> None:
        queue = self.queues[index]
        for chain in queue.chains():
            written = chain.write(0, self._source(min(chain.writable_bytes, REQUEST_BYTES_MAX)))
            self.counters["bytes"] += written
            queue.push(chain, written)
