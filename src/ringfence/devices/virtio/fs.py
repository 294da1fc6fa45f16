"""virtio-fs: a directory of the host as a file system of the guest.

VIRTIO 1.2, section 5.11. Requests are those of FUSE; `shares.fuse` answers them. Queue 0 is for those that
must not wait behind others, queue 1 for the rest; here each is answered before the next is looked at.
"""

from __future__ import annotations

import struct

from ringfence.devices.virtio.device import VirtioDevice
from ringfence.errors import UserError
from ringfence.shares.fuse.server import FuseServer

TAG_BYTES = 36
REQUEST_QUEUES = 1
QUEUE_SIZE = 512

_CONFIG = struct.Struct(f"<{TAG_BYTES}sI")


class VirtioFs(VirtioDevice):
    """The file system ``tag``, as in ``mount -t virtiofs TAG PATH``.

    Raises:
        UserError: the tag is empty or longer than 36 bytes.
    """

    device_type = 26
    class_code = 0x018000
    queue_sizes = (QUEUE_SIZE,) * (1 + REQUEST_QUEUES)

    def __init__(self, name: str, server: FuseServer, tag: str) -> None:
        super().__init__(name)
        self._tag = tag.encode()
        if not 0 < len(self._tag) <= TAG_BYTES:
            raise UserError(f"a share's tag has 1 to {TAG_BYTES} bytes: {tag!r}")
        self._server = server
        self.counters = server.counters

    # Configuration.

    @property
    def offered_features(self) -> int:
        return 0

    def config(self) -> bytes:
        return _CONFIG.pack(self._tag, REQUEST_QUEUES)

    # Queues.

    def notify(self, index: int) -> None:
        queue = self.queues[index]
        for chain in queue.chains():
            queue.push(chain, self._server.serve(chain))

    # State.

    def reset(self) -> None:
        self._server.reset()
