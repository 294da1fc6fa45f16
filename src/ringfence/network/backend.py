"""What a network interface needs from whatever carries its frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Takes one received frame. To be called on the vCPU thread: another thread posts the call.
OnReceive = Callable[[bytes], None]


class NetworkBackend(Protocol):
    """The other end of the cable: Ethernet frames without their checksum."""

    def connect(self, on_receive: OnReceive) -> None:
        """Deliver what arrives from now on to ``on_receive``."""
        ...

    def send(self, frame: bytes) -> None:
        """Take one frame from the guest. Does not wait and does not fail: a network may lose frames."""
        ...

    def close(self) -> None: ...
