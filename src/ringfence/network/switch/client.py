"""A NIC's port on a switch."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ringfence.api.network import NetConfig
from ringfence.errors import HostError
from ringfence.log import logger
from ringfence.network.backend import OnReceive
from ringfence.network.event_loop import EventLoop
from ringfence.network.packet_socket import PacketSocket
from ringfence.network.switch import greeting, rendezvous

ANSWER_SECONDS = 10.0


class SwitchPort:
    """Plugged into the switch ``net`` names when it is made; used by ``loop``.

    Attributes:
        welcome: what the machine is on that switch: its MAC address above all.

    Raises:
        UserError: the switch refuses: a published port is taken, or it is full.
        HostError: there is no switch and none can be had.
    """

    def __init__(self, net: NetConfig, loop: EventLoop) -> None:
        self._loop = loop
        self._link: PacketSocket | None = None
        self._name = net.switch
        self._socket = rendezvous.connect(net.switch)
        try:
            self._socket.settimeout(ANSWER_SECONDS)
            self._socket.send(greeting.write_hello(net))
            answer = self._socket.recv(greeting.MESSAGE_BYTES_MAX)
            self.welcome = greeting.read_welcome(answer)
        except OSError as error:
            self._socket.close()
            raise HostError(f"switch {net.switch!r} does not answer: {_reason(error)}") from error
        except BaseException:
            self._socket.close()
            raise

    def connect(self, on_receive: OnReceive) -> None:
        if self._link is not None:
            self._link.close()
        self._link = PacketSocket(self._loop, self._socket.dup(), on_receive, self._on_gone)

    def send(self, packets: Sequence[bytes]) -> None:
        if self._link is not None:
            self._link.send(packets)

    def hold(self, is_held: bool) -> None:
        if self._link is not None:
            self._link.hold(is_held)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._socket.close()

    def metrics(self) -> dict[str, int]:
        return dict(self._link.counters) if self._link is not None else {}

    def _on_gone(self) -> None:
        logger.warning("switch %r is gone: the network is cut off", self._name)


def _reason(error: OSError) -> str:
    return "no answer in time" if isinstance(error, socket.timeout) else error.strerror or str(error)
