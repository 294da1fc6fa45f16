"""virtio-9p: a directory of the host as a file system of a guest whose kernel has no virtio-fs.

VIRTIO 1.2, section 5.15 only reserves its number; drivers agree on a feature, the tag in the configuration
(``length le16``, bytes) and one queue of 9P requests. `shares.ninep` answers them.
"""

from __future__ import annotations

from ringfence.devices.virtio.device import VirtioDevice
from ringfence.errors import UserError
from ringfence.shares.ninep.server import NinePServer

F_MOUNT_TAG = 1 << 0
TAG_BYTES = 36


class VirtioNineP(VirtioDevice):
    """The file system ``tag``, as in ``mount -t 9p -o trans=virtio,version=9p2000.L TAG PATH``.

    Raises:
        UserError: the tag is empty or longer than 36 bytes.
    """

    device_type = 9
    class_code = 0x018000
    queue_sizes = (128,)

    def __init__(self, name: str, server: NinePServer, tag: str) -> None:
        super().__init__(name)
        self._tag = tag.encode()
        if not 0 < len(self._tag) <= TAG_BYTES:
            raise UserError(f"a share's tag has 1 to {TAG_BYTES} bytes: {tag!r}")
        self._server = server
        self.counters = server.counters

    # Configuration.

    @property
    def offered_features(self) -> int:
        return F_MOUNT_TAG

    def config(self) -> bytes:
        return len(self._tag).to_bytes(2, "little") + self._tag

    # Queues.

    def notify(self, index: int) -> None:
        queue = self.queues[index]
        for chain in queue.chains():
            queue.push(chain, self._server.serve(chain))

    # State.

    def reset(self) -> None:
        self._server.reset()
