"""A virtual switch between the machines of one user: one small process for each switch.

    VMM --- SOCK_SEQPACKET --- port --+
    VMM --- SOCK_SEQPACKET --- port --+-- by MAC address --- UserNetwork: DHCP, names, the way out
                                      +-- ...

Packets keep their virtio-net header on the way, so two guests hand each other segments of 64 KiB that nobody
sums or cuts. A port sends from the address that it was given and no other (`honesty`). The table of addresses
is that of the ports, and has no more entries.
"""

from __future__ import annotations

import hashlib
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from ringfence.errors import UserError
from ringfence.network import offload
from ringfence.network.event_loop import READABLE, EventLoop, Timer
from ringfence.network.packet_socket import PacketSocket
from ringfence.network.switch import greeting
from ringfence.network.switch.greeting import Hello, Welcome
from ringfence.network.switch.honesty import is_honest
from ringfence.network.user.addresses import GATEWAY_MAC, Client
from ringfence.network.user.stack import UserNetwork

PORTS_MAX = 128
HELLO_SECONDS = 5.0
_MAC_PREFIX = bytes.fromhex("525246")
_NAMES_TRIED = 1000
_HEADER = offload.HEADER_BYTES


class _Port:
    def __init__(self, client: Client, link: PacketSocket) -> None:
        self.client = client
        self.link = link


class Switch:
    """Forwards packets between its ports, on ``loop``. ``on_empty`` is called when the last one is gone."""

    def __init__(self, loop: EventLoop, listening: socket.socket, on_empty: Callable[[], None]) -> None:
        self._loop = loop
        self._listening = listening
        self._on_empty = on_empty
        self._ports: dict[bytes, _Port] = {}
        self._greeting: dict[socket.socket, Timer] = {}
        self.counters: Counter[str] = Counter()
        self._network = UserNetwork(loop)
        self._network.connect(self._from_network)
        listening.setblocking(False)
        loop.watch(listening.fileno(), READABLE, self.accept)

    @property
    def is_empty(self) -> bool:
        return not self._ports and not self._greeting

    def accept(self, events: int = READABLE) -> None:
        """Let in who waits at the door."""
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            if not greeting.is_same_user(connected) or len(self._ports) + len(self._greeting) >= PORTS_MAX:
                self.counters["refused"] += 1
                connected.close()
                continue
            connected.setblocking(False)
            self._greeting[connected] = self._loop.call_later(
                HELLO_SECONDS, partial(self._give_up, connected)
            )
            self._loop.watch(connected.fileno(), READABLE, partial(self._greet, connected))

    def close(self) -> None:
        self._network.close()
        for port in self._ports.values():
            port.link.close()
        self._listening.close()

    # -- ports --

    def _give_up(self, connected: socket.socket) -> None:
        timer = self._greeting.pop(connected, None)
        if timer is not None:
            timer.cancel()
            self._loop.unwatch(connected.fileno())
            connected.close()
            self._leave_if_empty()

    def _greet(self, connected: socket.socket, events: int) -> None:
        try:
            message = connected.recv(greeting.MESSAGE_BYTES_MAX)
            if message:
                hello = greeting.read_hello(message)
                client = self._join(hello)
                address = socket.inet_ntop(socket.AF_INET, client.ip4)
                connected.send(greeting.write_welcome(Welcome(client.name, client.mac.hex(":"), address)))
                self._greeting.pop(connected).cancel()
                self._loop.unwatch(connected.fileno())
                self._plug_in(client, connected)
                return
        except UserError as error:
            try:
                connected.send(greeting.write_refusal(str(error)))
            except OSError:
                self.counters["refused"] += 1
        except OSError:
            self.counters["refused"] += 1
        self._give_up(connected)

    def _join(self, hello: Hello) -> Client:
        """A place on the network, under its name or that with a number."""
        for number in range(1, _NAMES_TRIED):
            name = hello.name if number == 1 else f"{hello.name[:58]}-{number}"
            mac = _MAC_PREFIX + hashlib.sha256(name.encode()).digest()[:3]
            if mac == GATEWAY_MAC or mac in self._ports or self._network.clients.by_name(name) is not None:
                continue
            client = self._network.add(mac, name, hello.forwards, hello.allow, hello.name_servers)
            if client is None:
                break
            return client
        raise UserError("the switch is full")

    def _plug_in(self, client: Client, connected: socket.socket) -> None:
        link = PacketSocket(
            self._loop, connected, partial(self._from_port, client), partial(self._unplug, client)
        )
        self._ports[client.mac] = _Port(client, link)
        self._network.start(client)

    def _unplug(self, client: Client) -> None:
        port = self._ports.pop(client.mac, None)
        if port is not None:
            self.counters.update(port.link.counters)
            self._network.remove(client)
            self._leave_if_empty()

    def _leave_if_empty(self) -> None:
        if self.is_empty:
            self._on_empty()

    # -- packets --

    def _from_network(self, packets: Sequence[bytes]) -> bool:
        for packet in packets:
            port = self._ports.get(packet[_HEADER : _HEADER + 6])
            if port is not None:
                port.link.send([packet])
        return True

    def _from_port(self, client: Client, packets: Sequence[bytes]) -> None:
        for packet in packets:
            if not is_honest(self._network.clients, client, memoryview(packet)[_HEADER:]):
                self.counters["forged"] += 1
                continue
            destination = packet[_HEADER : _HEADER + 6]
            if destination == GATEWAY_MAC:
                self._network.send([packet])
            elif destination[0] & 1:
                self._flood(client, packet)
            elif (port := self._ports.get(destination)) is not None:
                port.link.send([packet])
            else:
                self.counters["unknown_destination"] += 1

    def _flood(self, client: Client, packet: bytes) -> None:
        for mac, port in list(self._ports.items()):
            if mac != client.mac:
                port.link.send([packet])
        self._network.send([packet])
