"""virtio-9p: a directory of the host as a file system of a guest whose kernel has no virtio-fs.

VIRTIO 1.2, section 5.15 only reserves its number; drivers agree on a feature, the tag in the configuration
(``length le16``, bytes) and one queue of 9P requests. `shares.ninep` answers them.
"""

from __future__ import annotations

from ringfence.devices.virtio.share import VirtioShare

F_MOUNT_TAG = 1 << 0


class VirtioNineP(VirtioShare):
    """Mounted by ``mount -t 9p -o trans=virtio,version=9p2000.L TAG PATH``."""

    device_type = 9
    queue_sizes = (128,)

    @property
    def offered_features(self) -> int:
        return F_MOUNT_TAG

    def config(self) -> bytes:
        return len(self.tag).to_bytes(2, "little") + self.tag
