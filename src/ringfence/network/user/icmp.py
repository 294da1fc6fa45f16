"""ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, answered or passed on, and "unreachable" for what is not.

Outside hosts are pinged through the host's ping sockets (SOCK_DGRAM), where the administrator lets users have
them (net.ipv4.ping_group_range); without, such an echo is refused at once.
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

from ringfence.network.checksum import checksum, pseudo_sum
from ringfence.network.event_loop import READABLE
from ringfence.network.user import ip
from ringfence.network.user.addresses import OURS, Client
from ringfence.network.user.ip import Datagram

if TYPE_CHECKING:
    from ringfence.network.user.stack import UserNetwork

#: Pings under way, each by guest, address and identifier; the oldest gives way.
PINGS_MAX = 64
_ECHO, _ECHO_REPLY, _ECHO6, _ECHO6_REPLY = 8, 0, 128, 129
_UNREACHABLE, _UNREACHABLE6 = 3, 1
#: Codes by family: (IPv4, IPv6).
HOST, PORT, PROHIBITED = (1, 3), (3, 4), (13, 1)

_Key = tuple[bytes, bytes, int]


class Icmp:
    """Answers echo requests to the gateway, and passes on those to other hosts."""

    def __init__(self, network: UserNetwork) -> None:
        self._network = network
        self._pings: OrderedDict[_Key, socket.socket] = OrderedDict()

    def receive(self, client: Client, datagram: Datagram) -> None:
        """An echo request; other messages are not for us."""
        message = datagram.payload
        is_v6 = len(datagram.source) == 16
        if len(message) < 8 or message[0] != (_ECHO6 if is_v6 else _ECHO):
            self._network.counters["icmp_ignored"] += 1
        elif datagram.destination in OURS:
            self._reply(client, datagram.source, datagram.destination, bytes(message[4:]))
        elif not client.policy.allows(datagram.destination):
            self._network.counters["denied"] += 1
            self.unreachable(client, datagram, PROHIBITED)
        else:
            self._pass_on(client, datagram)

    def unreachable(self, client: Client, datagram: Datagram, code: tuple[int, int]) -> None:
        """Tell a guest that a datagram of its got nowhere."""
        is_v6 = len(datagram.source) == 16
        offset = 12 + ip.ETHERNET_BYTES
        quoted = datagram.packet[offset : offset + (1232 if is_v6 else 548)]
        head = struct.pack(">BBHI", _UNREACHABLE6 if is_v6 else _UNREACHABLE, code[is_v6], 0, 0)
        self._send(client, datagram.destination, datagram.source, head + quoted)

    def close(self) -> None:
        while self._pings:
            self._forget(next(iter(self._pings)))

    def _reply(self, client: Client, guest: bytes, remote: bytes, rest: bytes) -> None:
        kind = _ECHO6_REPLY if len(guest) == 16 else _ECHO_REPLY
        self._send(client, remote, guest, struct.pack(">BBH", kind, 0, 0) + rest)

    def _send(self, client: Client, source: bytes, destination: bytes, message: bytes) -> None:
        """``message`` has no checksum yet."""
        is_v6 = len(source) == 16
        protocol = ip.ICMPV6 if is_v6 else ip.ICMP
        start = pseudo_sum(source, destination, protocol, len(message)) if is_v6 else 0
        message = message[:2] + checksum(message, start).to_bytes(2, "big") + message[4:]
        self._network.emit_datagram(client.mac, source, destination, protocol, message)

    def _pass_on(self, client: Client, datagram: Datagram) -> None:
        message = datagram.payload
        (identifier,) = struct.unpack_from(">H", message, 4)
        key = (datagram.source, datagram.destination, identifier)
        try:
            ping = self._pings.get(key) or self._open(client, key)
            self._pings.move_to_end(key)
            ping.send(message)
        except OSError:
            self._network.counters["icmp_refused"] += 1
            self.unreachable(client, datagram, HOST)

    def _open(self, client: Client, key: _Key) -> socket.socket:
        guest, remote, identifier = key
        is_v6 = len(remote) == 16
        family, protocol = (
            (socket.AF_INET6, socket.IPPROTO_ICMPV6) if is_v6 else (socket.AF_INET, socket.IPPROTO_ICMP)
        )
        ping = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
        try:
            ping.connect((socket.inet_ntop(family, remote), 0))
        except OSError:
            ping.close()
            raise
        if len(self._pings) >= PINGS_MAX:
            self._forget(next(iter(self._pings)))
        self._pings[key] = ping

        def receive(events: int) -> None:
            try:
                answer = ping.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                self._forget(key)
                return
            if len(answer) >= 8:
                # the kernel has put an identifier of its own there
                self._reply(client, guest, remote, identifier.to_bytes(2, "big") + answer[6:])

        self._network.loop.watch(ping.fileno(), READABLE, receive)
        return ping

    def _forget(self, key: _Key) -> None:
        ping = self._pings.pop(key, None)
        if ping is not None:
            self._network.loop.unwatch(ping.fileno())
            ping.close()
