"""virtio-fs: a directory of the host as a file system of the guest.

VIRTIO 1.2, section 5.11. Requests are those of FUSE; `shares.fuse` answers them. Queue 0 is for those that
must not wait behind others, queue 1 for the rest.
"""

from __future__ import annotations

import struct

from ringfence.devices.virtio.share import TAG_BYTES, VirtioShare

REQUEST_QUEUES = 1
QUEUE_SIZE = 512

_CONFIG = struct.Struct(f"<{TAG_BYTES}sI")


class VirtioFs(VirtioShare):
    """Mounted by ``mount -t virtiofs TAG PATH``."""

    device_type = 26
    queue_sizes = (QUEUE_SIZE,) * (1 + REQUEST_QUEUES)

    @property
    def offered_features(self) -> int:
        return 0

    def config(self) -> bytes:
        return _CONFIG.pack(self.tag, REQUEST_QUEUES)
