"""A loopback plug: every packet comes back to the interface that sent it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ringfence.network.backend import OnReceive


class Loopback:
    """Returns packets before `send` does."""

    def __init__(self) -> None:
        self._on_receive: OnReceive | None = None

    def connect(self, on_receive: OnReceive) -> None:
        self._on_receive = on_receive

    def send(self, packets: Sequence[bytes]) -> None:
        if self._on_receive is not None:
            self._on_receive(packets)

    def defer(self, transmit: Callable[[], None]) -> bool:
        return False

    def hold(self, is_held: bool) -> None: ...

    def go_on(self) -> None: ...

    def close(self) -> None:
        self._on_receive = None

    def metrics(self) -> dict[str, int]:
        return {}
