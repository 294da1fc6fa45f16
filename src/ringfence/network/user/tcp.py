"""All TCP connections of a network's guests: found by their addresses, opened, refused and bounded."""

from __future__ import annotations

import socket
from collections import OrderedDict
from typing import TYPE_CHECKING

from ringfence.api.network import DNS_PORT
from ringfence.network.user import hosts, icmp
from ringfence.network.user.addresses import DNS, DNS6, GATEWAY, OURS, Client, Server
from ringfence.network.user.ip import Datagram
from ringfence.network.user.tcp_connection import Connection, Key
from ringfence.network.user.tcp_queues import Budget
from ringfence.network.user.tcp_segment import ACK, FIN, RST, SEQUENCE_MASK, SYN, Builder, Segment, parse

if TYPE_CHECKING:
    from ringfence.network.user.stack import UserNetwork

CONNECTIONS_MAX = 512
#: What all connections together may hold, in each direction: what the host has not taken yet, and what a
#: guest has not acknowledged.
BUFFERED_BYTES_MAX = 64 << 20
#: Ports that the gateway shows to a guest for those who come from outside.
_FIRST_PORT, _PORTS = 32768, 28000


class Tcp:
    """The connections of all guests of a network."""

    def __init__(self, network: UserNetwork) -> None:
        self.network = network
        self.budget = Budget(BUFFERED_BYTES_MAX)
        self._connections: OrderedDict[Key, Connection] = OrderedDict()
        #: have taken data in this round, and in the one before
        self._unacknowledged: dict[Connection, None] = {}
        self._due: dict[Connection, None] = {}
        #: have data for the host
        self._unwritten: dict[Connection, None] = {}
        self._next_port = 0

    def __len__(self) -> int:
        return len(self._connections)

    def receive(self, client: Client, datagram: Datagram) -> None:
        """A guest's segment."""
        segment = parse(datagram.payload)
        if segment is None:
            self.network.counters["tcp_malformed"] += 1
            return
        key = (datagram.source, segment.source_port, datagram.destination, segment.destination_port)
        connection = self._connections.get(key)
        if connection is not None:
            self._connections.move_to_end(key)
            connection.receive(segment)
        elif segment.flags & (SYN | ACK | RST | FIN) == SYN:
            self._open(client, datagram, segment, key)
        elif not segment.flags & RST:
            self._refuse(client, segment, key)

    def accept(self, client: Client, accepted: socket.socket, guest_port: int) -> None:
        """Somebody came to a published port: connect to the guest's, from the gateway."""
        if not self._has_room():
            accepted.close()
            return
        for _ in range(_PORTS):
            self._next_port = (self._next_port + 1) % _PORTS
            key = (client.ip4, guest_port, GATEWAY, _FIRST_PORT + self._next_port)
            if key not in self._connections:
                break
        connection = Connection(self, client, key, accepted)
        self._connections[key] = connection
        connection.call_guest()

    def end_round(self) -> bool:
        """Hand over what came in a round. One acknowledgement for all of it goes out a round later, unless an
        answer has taken it along until then; True: one waits for that."""
        written, self._unwritten = self._unwritten, {}
        for connection in written:
            connection.write()
        due, self._due = self._due, self._unacknowledged
        self._unacknowledged = {}
        for connection in list(due):
            connection.acknowledge()
        return bool(self._due)

    def has_to_write(self, connection: Connection) -> None:
        self._unwritten[connection] = None

    def has_to_acknowledge(self, connection: Connection) -> None:
        if connection not in self._due:
            self._unacknowledged[connection] = None

    def has_acknowledged(self, connection: Connection) -> None:
        self._due.pop(connection, None)
        self._unacknowledged.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        self._connections.pop(connection.key, None)
        self._unwritten.pop(connection, None)
        self.has_acknowledged(connection)

    def forget(self, client: Client) -> None:
        """End all connections of a guest that is gone."""
        for connection in [each for each in self._connections.values() if each.client is client]:
            connection.abort()

    def close(self) -> None:
        for connection in list(self._connections.values()):
            connection.abort()

    def _open(self, client: Client, datagram: Datagram, segment: Segment, key: Key) -> None:
        target = self._outside(client, datagram.destination, segment.destination_port)
        if target is None:
            self.network.counters["denied"] += 1
            if datagram.destination in OURS:
                self._refuse(client, segment, key)
            else:
                self.network.icmp.unreachable(client, datagram, icmp.PROHIBITED)
            return
        if not self._has_room():
            self._refuse(client, segment, key)
            return
        try:
            outside = hosts.connect(socket.SOCK_STREAM, *target)
        except ConnectionRefusedError:
            self._refuse(client, segment, key)
        except OSError:
            self.network.counters["tcp_unreachable"] += 1
            self.network.icmp.unreachable(client, datagram, icmp.HOST)
        else:
            connection = self._connections[key] = Connection(self, client, key, outside)
            connection.call_host(segment, datagram)

    def _outside(self, client: Client, destination: bytes, port: int) -> Server | None:
        """Names over TCP go to a name server as they are: only where all names are allowed."""
        if destination in (DNS, DNS6) and port == DNS_PORT and client.policy.is_open:
            return next(iter(self.network.dns.servers_of(client)), None)
        address = hosts.outside(client, destination)
        return None if address is None else (address, port)

    def _has_room(self) -> bool:
        """Room for one more, made by ending the one that has been quiet longest if it is done half."""
        if len(self._connections) < CONNECTIONS_MAX:
            return True
        oldest = next(iter(self._connections.values()))
        if oldest.is_half_closed:
            self.network.counters["tcp_evicted"] += 1
            oldest.abort()
            return True
        self.network.counters["tcp_table_full"] += 1
        return False

    def _refuse(self, client: Client, segment: Segment, key: Key) -> None:
        """A reset for what belongs to no connection (RFC 9293, 3.10.7.1)."""
        self.network.counters["tcp_refused"] += 1
        length = len(segment.data) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        builder = Builder(client.mac, *key)
        if segment.flags & ACK:
            packet = builder.build(segment.acknowledgement, 0, RST, 0)
        else:
            packet = builder.build(0, (segment.sequence + length) & SEQUENCE_MASK, RST | ACK, 0)
        self.network.emit(packet)
