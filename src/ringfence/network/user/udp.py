"""UDP (RFC 768): one connected socket of the host for each flow of a guest.

A connected socket takes datagrams from its peer alone, and hears of a port that nobody has. Flows are
bounded: the one that has been quiet longest gives way.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ringfence.network.checksum import checksum, pseudo_sum
from ringfence.network.event_loop import READABLE
from ringfence.network.user import hosts, icmp, ip
from ringfence.network.user.addresses import Client
from ringfence.network.user.ip import Datagram

if TYPE_CHECKING:
    from ringfence.network.user.stack import UserNetwork

FLOWS_MAX = 256
IDLE_SECONDS = 120
HEADER = struct.Struct(">HHHH")
#: What IP can say, by family.
_LENGTH_MAX_V4, _LENGTH_MAX_V6 = 65535 - 20, 65535
#: Datagrams taken from one flow before others have their turn.
_BATCH = 16

#: guest's address and port, remote address and port, as the guest sees them
FlowKey = tuple[bytes, int, bytes, int]


class Received(NamedTuple):
    """A guest's datagram."""

    source_port: int
    destination_port: int
    data: memoryview


class _Flow:
    def __init__(
        self, send: Callable[[memoryview], object], fd: int | None, close: Callable[[], None]
    ) -> None:
        self.send = send
        self.fd = fd
        self.close = close
        self.used = time.monotonic()


def parse(payload: memoryview) -> Received | None:
    if len(payload) < HEADER.size:
        return None
    source, destination, length, _ = HEADER.unpack_from(payload)
    if not HEADER.size <= length <= len(payload) or not source or not destination:
        return None
    return Received(source, destination, payload[HEADER.size : length])


class Udp:
    """The flows of all guests of a network."""

    def __init__(self, network: UserNetwork) -> None:
        self._network = network
        self._flows: OrderedDict[FlowKey, _Flow] = OrderedDict()
        self._sweeps = False

    def send_to_guest(self, client: Client, key: FlowKey, data: bytes) -> None:
        """A datagram to a guest's end of a flow."""
        guest, guest_port, remote, remote_port = key
        is_v6 = len(guest) == 16
        length = HEADER.size + len(data)
        if length > (_LENGTH_MAX_V6 if is_v6 else _LENGTH_MAX_V4):
            self._network.counters["udp_too_long"] += 1
            return
        summed = pseudo_sum(remote, guest, ip.UDP, length)
        if length > ip.payload_max(is_v6):
            ports = (remote_port, guest_port, length)
            value = checksum(HEADER.pack(*ports, summed) + data) or 0xFFFF
            whole = HEADER.pack(*ports, value) + data
            self._network.emit_datagram(client.mac, remote, guest, ip.UDP, whole)
            return
        self._network.emit(
            b"".join(
                (
                    ip.transport_header(is_v6, ip.UDP),
                    ip.headers(client.mac, remote, guest, ip.UDP, length),
                    HEADER.pack(remote_port, guest_port, length, summed),
                    data,
                )
            )
        )

    def receive(self, client: Client, datagram: Datagram, received: Received) -> None:
        """A guest's datagram to another host."""
        key = (datagram.source, received.source_port, datagram.destination, received.destination_port)
        flow = self._flows.get(key)
        if flow is None:
            address = hosts.outside(client, datagram.destination)
            if address is None:
                self._network.counters["denied"] += 1
                self._network.icmp.unreachable(client, datagram, icmp.PROHIBITED)
                return
            try:
                flow = self._open(client, datagram, key, address)
            except OSError:
                self._network.counters["udp_refused"] += 1
                self._network.icmp.unreachable(client, datagram, icmp.HOST)
                return
        flow.used = time.monotonic()
        self._flows.move_to_end(key)
        try:
            flow.send(received.data)
        except ConnectionRefusedError:
            self._network.icmp.unreachable(client, datagram, icmp.PORT)
            self.forget(key)
        except OSError:
            self._network.counters["udp_send_failed"] += 1

    def add(
        self, key: FlowKey, send: Callable[[memoryview], object], fd: int | None, close: Callable[[], None]
    ) -> None:
        """A flow that leads to ``send``, until it is forgotten and ``close`` is called."""
        if len(self._flows) >= FLOWS_MAX:
            self.forget(next(iter(self._flows)))
        self._flows[key] = _Flow(send, fd, close)
        if not self._sweeps:
            self._sweeps = True
            self._network.loop.call_later(IDLE_SECONDS, self._sweep)

    def touch(self, key: FlowKey) -> bool:
        """A flow was used; whether there is one."""
        flow = self._flows.get(key)
        if flow is None:
            return False
        flow.used = time.monotonic()
        self._flows.move_to_end(key)
        return True

    def forget(self, key: FlowKey) -> None:
        flow = self._flows.pop(key, None)
        if flow is not None:
            if flow.fd is not None:
                self._network.loop.unwatch(flow.fd)
            flow.close()

    def close(self) -> None:
        for key in list(self._flows):
            self.forget(key)

    def _open(self, client: Client, datagram: Datagram, key: FlowKey, address: bytes) -> _Flow:
        outside = hosts.connect(socket.SOCK_DGRAM, address, key[3])
        quoted = datagram

        def receive(events: int) -> None:
            try:
                for _ in range(_BATCH):
                    self.send_to_guest(client, key, outside.recv(65535))
                    self.touch(key)
            except BlockingIOError:
                return
            except OSError:
                self._network.icmp.unreachable(client, quoted, icmp.PORT)
                self.forget(key)

        self.add(key, outside.send, outside.fileno(), outside.close)
        self._network.loop.watch(outside.fileno(), READABLE, receive)
        return self._flows[key]

    def _sweep(self) -> None:
        """Forget flows that have been quiet for long."""
        limit = time.monotonic() - IDLE_SECONDS
        while self._flows and next(iter(self._flows.values())).used < limit:
            self.forget(next(iter(self._flows)))
        self._sweeps = bool(self._flows)
        if self._sweeps:
            self._network.loop.call_later(IDLE_SECONDS, self._sweep)
