"""The addresses of a user network, and who has which.

The same in every user network and switch, for nothing of them is seen outside: the gateway is the VMM
itself, which answers at a second address for names. A guest's own address follows from the order in which
it came.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from ringfence.network.user.policy import Policy

GATEWAY_MAC = bytes.fromhex("525246ffff01")
BROADCAST_MAC = b"\xff" * 6

_NETWORK = ipaddress.IPv4Network("10.0.2.0/24")
_FIRST_CLIENT = 15
CLIENTS_MAX = 200
NETMASK = _NETWORK.netmask.packed
BROADCAST = _NETWORK.broadcast_address.packed
GATEWAY = _NETWORK[2].packed
DNS = _NETWORK[3].packed
ANY, EVERYBODY = bytes(4), b"\xff" * 4

#: A unique local prefix (RFC 4193).
PREFIX6 = ipaddress.IPv6Network("fd52:5246:7266::/64").network_address.packed[:8]
GATEWAY6 = PREFIX6 + bytes(7) + b"\x02"
DNS6 = PREFIX6 + bytes(7) + b"\x03"
LINK_LOCAL_PREFIX = bytes.fromhex("fe80000000000000")
LINK_LOCAL = LINK_LOCAL_PREFIX + bytes.fromhex("505246fffeffff01")
ANY6 = bytes(16)

OURS = frozenset((GATEWAY, DNS, GATEWAY6, DNS6, LINK_LOCAL))
#: What a guest may call itself in each family; one with more is not a host but a flood.
ADDRESSES6_MAX = 8

#: Address and port.
Server = tuple[bytes, int]


class Client:
    """A guest on the network."""

    def __init__(
        self, name: str, mac: bytes, ip4: bytes, policy: Policy, name_servers: Sequence[Server]
    ) -> None:
        self.name = name
        self.mac = mac
        self.ip4 = ip4
        self.ip6: list[bytes] = []
        self.policy = policy
        #: of its own; none for the network's
        self.name_servers = list(name_servers)


class Clients:
    """All guests of a network."""

    def __init__(self) -> None:
        self._by_mac: dict[bytes, Client] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(self._by_mac.values())

    def add(
        self, name: str, mac: bytes, policy: Policy, name_servers: Sequence[Server] = ()
    ) -> Client | None:
        """A new guest with the lowest free address; None when there is none."""
        taken = {client.ip4 for client in self}
        for number in range(_FIRST_CLIENT, _FIRST_CLIENT + CLIENTS_MAX):
            ip4 = _NETWORK[number].packed
            if ip4 not in taken:
                client = self._by_mac[mac] = Client(name, mac, ip4, policy, name_servers)
                return client
        return None

    def remove(self, client: Client) -> None:
        self._by_mac.pop(client.mac, None)

    def by_mac(self, mac: bytes) -> Client | None:
        return self._by_mac.get(mac)

    def by_name(self, name: str) -> Client | None:
        return next((client for client in self if client.name == name), None)

    def owns(self, client: Client, address: bytes) -> bool:
        """Whether a guest may send from ``address``: its own, or one nobody else has, which it keeps."""
        if address == client.ip4 or address in client.ip6:
            return True
        if address in OURS or any(address == other.ip4 or address in other.ip6 for other in self):
            return False
        if len(address) == 4:
            if address[:3] != GATEWAY[:3] or address in (BROADCAST, _NETWORK[0].packed):
                return False
            client.ip4 = address
            return True
        if address[:8] not in (PREFIX6, LINK_LOCAL_PREFIX):
            return False
        client.ip6.append(address)
        del client.ip6[:-ADDRESSES6_MAX]
        return True
