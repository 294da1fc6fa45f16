"""A network in user space: what a guest's frames mean, done with this host's sockets.

    guest --- Ethernet --- ARP, neighbor discovery
                           IPv4, IPv6 --- ICMP echo
                                          UDP --- DHCP, DNS, flows to other hosts
                                          TCP --- connections to other hosts, and from published ports

No privilege is needed, since each flow of the guest is a socket of the user's. Several guests may be on one
network (`network.switch`); frames between them do not come here. Everything a guest can make grow has a
bound, and what is malformed or not allowed is counted and dropped.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from ringfence.api.network import DNS_PORT, Forward, NameServer
from ringfence.network import offload
from ringfence.network.backend import OnReceive
from ringfence.network.event_loop import EventLoop
from ringfence.network.user import arp, dhcp, dns, fragments, hosts, ip, ndp, udp
from ringfence.network.user.addresses import ANY, ANY6, DNS, DNS6, GATEWAY, OURS, Client, Clients, Server
from ringfence.network.user.forward import Listeners
from ringfence.network.user.fragments import Reassembly
from ringfence.network.user.icmp import Icmp
from ringfence.network.user.ip import Datagram
from ringfence.network.user.policy import Policy
from ringfence.network.user.tcp import Tcp
from ringfence.network.user.udp import Udp


class UserNetwork:
    """A backend for one NIC, or for all of a switch.

    Everything but the constructor and `add` before the loop runs is called by the loop.
    """

    def __init__(self, loop: EventLoop, name_servers: list[Server] | None = None) -> None:
        self.loop = loop
        self.clients = Clients()
        self.counters: Counter[str] = Counter()
        self._on_receive: OnReceive | None = None
        self._outgoing: list[bytes] = []
        self._is_ipv6_router = hosts.has_ipv6()
        self._reassembly = Reassembly(self.counters)
        self._identifications = itertools.count(1)
        self.icmp = Icmp(self)
        self.udp = Udp(self)
        self.tcp = Tcp(self)
        self.dns = dns.Forwarder(self, dns.resolvers() if name_servers is None else name_servers)
        self._listeners: dict[Client, Listeners] = {}
        loop.after_round.append(self._end_round)

    # -- guests --

    def add(
        self,
        mac: bytes,
        name: str,
        forwards: Sequence[Forward] = (),
        allow: Sequence[str] | None = None,
        name_servers: Sequence[NameServer] = (),
    ) -> Client | None:
        """A guest joins; None when there is no address for it.

        Raises:
            UserError: a port can't be published.
        """
        client = self.clients.add(name, mac, Policy(allow), dns.as_servers(name_servers))
        if client is not None and forwards:
            try:
                self._listeners[client] = Listeners(self, client, forwards)
            except BaseException:
                self.clients.remove(client)
                raise
        return client

    def start(self, client: Client) -> None:
        """Serve a guest's published ports."""
        listeners = self._listeners.get(client)
        if listeners is not None:
            listeners.start()

    def remove(self, client: Client) -> None:
        """A guest leaves, and its connections end."""
        listeners = self._listeners.pop(client, None)
        if listeners is not None:
            listeners.close()
        self.tcp.forget(client)
        self.clients.remove(client)

    # -- packets --

    def connect(self, on_receive: OnReceive) -> None:
        self._on_receive = on_receive
        for client in self.clients:
            self.start(client)

    def send(self, packets: Sequence[bytes]) -> None:
        """What guests sent."""
        for packet in packets:
            self._receive(packet)

    def emit(self, packet: bytes) -> None:
        """Send a packet to a guest at the end of this round of the loop."""
        self._outgoing.append(packet)

    def emit_datagram(
        self, mac: bytes, source: bytes, destination: bytes, protocol: int, payload: bytes
    ) -> None:
        """Send a datagram whose payload has its checksum, in as many packets as it takes."""
        if len(payload) <= ip.payload_max(len(source) == 16):
            self.emit(ip.packet(mac, source, destination, protocol, payload))
            return
        number = next(self._identifications)
        for packet in fragments.cut(mac, source, destination, protocol, payload, number):
            self.emit(packet)

    def hold(self, is_held: bool) -> None:
        """Connections have windows, and the rest may be lost."""

    def close(self) -> None:
        for listeners in self._listeners.values():
            listeners.close()
        self._listeners.clear()
        self.tcp.close()
        self.udp.close()
        self.dns.close()
        self.icmp.close()

    def metrics(self) -> dict[str, int]:
        return {f"network_{name}": count for name, count in dict(self.counters).items()}

    def _end_round(self) -> None:
        self.loop.is_hurried |= self.tcp.end_round()
        if self._outgoing and self._on_receive is not None:
            packets, self._outgoing = self._outgoing, []
            self._on_receive(packets)

    def _receive(self, packet: bytes) -> None:
        frame = memoryview(packet)[offload.HEADER_BYTES :]
        client = self.clients.by_mac(bytes(frame[6:12]))
        if client is None:
            self.counters["unknown_station"] += 1
            return
        ethertype = frame[12] << 8 | frame[13]
        if ethertype in (ip.IPV4, ip.IPV6):
            self._receive_ip(client, packet)
        elif ethertype == ip.ARP:
            answer = arp.answer(frame)
            if answer is not None:
                self.emit(answer)
        else:
            self.counters["ethertype_ignored"] += 1

    def _receive_ip(self, client: Client, packet: bytes) -> None:
        datagram = ip.parse(packet)
        is_cut = isinstance(datagram, ip.Fragment)
        if isinstance(datagram, ip.Fragment):
            whole = self._reassembly.add(client.mac, datagram)
            if whole is None:
                return
            datagram = ip.parse(whole)
        if not isinstance(datagram, Datagram):
            self.counters[datagram if isinstance(datagram, str) else "ip_fragment_malformed"] += 1
            return
        protocol, source = datagram.protocol, datagram.source
        if protocol == ip.UDP and source in (ANY, client.ip4) and self._is_dhcp(client, datagram):
            return
        if protocol == ip.ICMPV6 and ndp.is_solicitation(datagram) and not is_cut:  # RFC 6980
            if source == ANY6 or self.clients.owns(client, source):
                answer = ndp.answer(client, datagram, self._is_ipv6_router)
                if answer is not None:
                    self.emit(answer)
            return
        if _is_multicast(datagram.destination):
            self.counters["multicast_ignored"] += 1
        elif not self.clients.owns(client, source):
            self.counters["forged_source"] += 1
        elif protocol == ip.TCP:
            self.tcp.receive(client, datagram)
        elif protocol == ip.UDP:
            self._receive_udp(client, datagram)
        elif protocol in (ip.ICMP, ip.ICMPV6):
            self.icmp.receive(client, datagram)
        else:
            self.counters["protocol_ignored"] += 1

    def _receive_udp(self, client: Client, datagram: Datagram) -> None:
        received = udp.parse(datagram.payload)
        if received is None:
            self.counters["udp_malformed"] += 1
        elif datagram.destination in (DNS, DNS6) and received.destination_port == DNS_PORT:
            key = (datagram.source, received.source_port, datagram.destination, DNS_PORT)
            self.dns.ask(
                client, bytes(received.data), lambda message: self.udp.send_to_guest(client, key, message)
            )
        else:
            self.udp.receive(client, datagram, received)

    def _is_dhcp(self, client: Client, datagram: Datagram) -> bool:
        received = udp.parse(datagram.payload)
        if received is None or received.destination_port != dhcp.SERVER_PORT:
            return False
        if datagram.destination not in (GATEWAY, b"\xff" * 4):
            return False
        answer = dhcp.answer(received.data, client)
        if answer is None:
            self.counters["dhcp_ignored"] += 1
        else:
            message, to = answer
            self.udp.send_to_guest(client, (to, dhcp.CLIENT_PORT, GATEWAY, dhcp.SERVER_PORT), message)
        return True


def _is_multicast(address: bytes) -> bool:
    if address in OURS:
        return False
    return address[0] >= 0xE0 if len(address) == 4 else address[0] == 0xFF
