"""A loopback plug: every frame comes back to the interface that sent it."""

from __future__ import annotations

from ringfence.network.backend import OnReceive


class Loopback:
    """Returns each frame before `send` does."""

    def __init__(self) -> None:
        self._on_receive: OnReceive | None = None

    def connect(self, on_receive: OnReceive) -> None:
        self._on_receive = on_receive

    def send(self, frame: bytes) -> None:
        if self._on_receive is not None:
            self._on_receive(frame)

    def close(self) -> None:
        self._on_receive = None
