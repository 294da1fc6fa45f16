"""What a network interface needs from whatever carries its packets.

A *packet* is an Ethernet frame without its checksum, behind a virtio-net header (VIRTIO 1.2, section
5.1.6; `offload.HEADER`), as Linux's tap devices have it with IFF_VNET_HDR. The header may leave a checksum
to be filled in or a long TCP segment to be cut: `offload` does both for who can't pass them on.

Packets move in batches, for every hand-over between threads costs as much as a packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

#: Takes received packets; False when they wait for the guest: more would have to wait as well. A NIC's is to
#: be called on the vCPU thread: another thread posts the call.
OnReceive = Callable[[Sequence[bytes]], bool]

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

    def hold(self, is_held: bool) -> None:
        """Leave what arrives where it is, if it can wait there; or go on."""
        ...

    def close(self) -> None: ...

    def metrics(self) -> dict[str, int]:
        """Counts, any thread. A counter is copied whole before it is gone through: it may grow meanwhile."""
        ...


class Cable(NetworkBackend, Protocol):
    """A backend that a NIC is plugged into."""

    def defer(self, transmit: Callable[[], None]) -> bool:
        """Whether it is busy with what was sent before; ``transmit`` is called once it is not. Until then
        the guest adds to its queue without a word, and all of it goes as one batch."""
        ...

    def go_on(self) -> None:
        """The guest has room again, after `OnReceive` said that it had none."""
        ...
