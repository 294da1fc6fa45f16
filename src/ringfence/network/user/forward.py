"""Published ports: sockets of the host that lead to a guest.

They are bound at once, so that a port that is taken is a line for the user, and served when the network runs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ringfence.api.network import Forward
from ringfence.errors import UserError
from ringfence.network.event_loop import READABLE
from ringfence.network.user.addresses import GATEWAY, Client

if TYPE_CHECKING:
    from ringfence.network.user.stack import UserNetwork

_BACKLOG = 128
_BATCH = 16
#: Ports of the gateway that stand for those who send to a published UDP port.
_FIRST_PORT, _PORTS = 61000, 4000


class Listeners:
    """The published ports of one guest.

    Raises:
        UserError: one can't be had.
    """

    def __init__(self, network: UserNetwork, client: Client, forwards: Sequence[Forward]) -> None:
        self._network = network
        self._client = client
        self._sockets: list[tuple[Forward, socket.socket]] = []
        self._ports: dict[tuple[int, object], int] = {}
        try:
            for forward in forwards:
                self._sockets.append((forward, _bind(forward)))
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        for forward, listening in self._sockets:
            handler = self._receive if forward.is_udp else self._accept
            self._network.loop.watch(listening.fileno(), READABLE, partial(handler, forward, listening))

    def close(self) -> None:
        while self._sockets:
            _, listening = self._sockets.pop()
            self._network.loop.unwatch(listening.fileno())
            listening.close()

    def _accept(self, forward: Forward, listening: socket.socket, events: int) -> None:
        for _ in range(_BATCH):
            try:
                accepted, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError:
                self._network.counters["accept_failed"] += 1
                return
            self._network.tcp.accept(self._client, accepted, forward.guest_port)

    def _receive(self, forward: Forward, listening: socket.socket, events: int) -> None:
        for _ in range(_BATCH):
            try:
                data, peer = listening.recvfrom(65535)
            except OSError:
                return
            key = (self._client.ip4, forward.guest_port, GATEWAY, self._port_of(forward, peer))
            udp = self._network.udp
            if not udp.touch(key):
                name = (forward.host_port, peer)
                udp.add(key, partial(_send_to, listening, peer), None, partial(self._free_port, name))
            udp.send_to_guest(self._client, key, data)

    def _port_of(self, forward: Forward, peer: object) -> int:
        """The gateway's port for a peer: its own while its flow lives, and a free one for the next."""
        name = (forward.host_port, peer)
        if name not in self._ports:
            taken = set(self._ports.values())
            self._ports[name] = next(
                port for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if port not in taken
            )
        return self._ports[name]

    def _free_port(self, name: tuple[int, object]) -> None:
        self._ports.pop(name, None)


def _send_to(listening: socket.socket, peer: tuple[str, int], data: memoryview) -> None:
    listening.sendto(data, peer)


def _bind(forward: Forward) -> socket.socket:
    family = socket.AF_INET6 if ":" in forward.host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if forward.is_udp else socket.SOCK_STREAM
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if not forward.is_udp:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((forward.host_ip, forward.host_port))
        if not forward.is_udp:
            bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(f"can't publish {forward}: {why}") from error
    return bound
