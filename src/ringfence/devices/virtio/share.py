"""What virtio-fs and virtio-9p have in common: a tag, and a server that answers requests.

VIRTIO 1.2, sections 5.11 and 5.15. What is asked and how is the servers' (`shares.fuse`, `shares.ninep`);
each request is answered before the next is looked at.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from ringfence.devices.virtio.device import VirtioDevice
from ringfence.errors import UserError
from ringfence.shares.message import Message

TAG_BYTES = 36


class Server(Protocol):
    """Answers requests for one directory."""

    counters: Counter[str]

    def serve(self, message: Message) -> int:
        """The number of bytes written into the message's room."""
        ...

    def reset(self) -> None: ...


class VirtioShare(VirtioDevice):
    """The directory behind ``server``, under the name ``tag`` for the guest's mount(8).

    Raises:
        UserError: the tag is empty or longer than 36 bytes.
    """

    class_code = 0x018000

    def __init__(self, name: str, server: Server, tag: str) -> None:
        super().__init__(name)
        self.tag = tag.encode()
        if not 0 < len(self.tag) <= TAG_BYTES:
            raise UserError(f"a share's tag has 1 to {TAG_BYTES} bytes: {tag!r}")
        self._server = server
        self.counters = server.counters

    def notify(self, index: int) -> None:
        queue = self.queues[index]
        for chain in queue.chains():
            queue.push(chain, self._server.serve(chain))

    def reset(self) -> None:
        self._server.reset()
