"""What a network interface needs from whatever carries its packets.

A *packet* is an Ethernet frame without its checksum, behind a virtio-net header (VIRTIO 1.2, section
5.1.6; `offload.HEADER`), as Linux's tap devices have it with IFF_VNET_HDR. The header may leave a checksum
to be filled in or a long TCP segment to be cut: `offload` does both for who can't pass them on.

Packets move in batches, for every hand-over between threads costs as much as a packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

#: Takes received packets. To be called on the vCPU thread: another thread posts the call.
OnReceive = Callable[[Sequence[bytes]], None]

#: Packets that may wait in one direction between two threads or processes.
QUEUE_PACKETS_MAX = 512


class NetworkBackend(Protocol):
    """The other end of the cable."""

    def connect(self, on_receive: OnReceive) -> None:
        """Deliver what arrives from now on to ``on_receive``."""
        ...

    def send(self, packets: Sequence[bytes]) -> None:
        """Take packets from the guest. Does not wait and does not fail: a network may lose them."""
        ...

    def close(self) -> None: ...

    def metrics(self) -> dict[str, int]: ...
