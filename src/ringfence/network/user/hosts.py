"""Sockets to hosts outside: which address a guest's destination stands for, and whether it may go there."""

from __future__ import annotations

import socket

from ringfence.network.user.addresses import DNS, DNS6, GATEWAY, GATEWAY6, LINK_LOCAL, Client
from ringfence.network.user.policy import LOOPBACK, LOOPBACK6

_OUTSIDE_V6 = ("2001:db8::1", 9)


def outside(client: Client, destination: bytes) -> bytes | None:
    """The host's address for a guest's destination; None where the guest may not go."""
    if destination in (DNS, DNS6, LINK_LOCAL):
        return None
    address = {GATEWAY: LOOPBACK, GATEWAY6: LOOPBACK6}.get(destination, destination)
    return address if client.policy.allows(address) else None


def connect(kind: socket.SocketKind, address: bytes, port: int) -> socket.socket:
    """A socket that is connected, or connecting, and never waits.

    Raises:
        OSError: no.
    """
    family = socket.AF_INET6 if len(address) == 16 else socket.AF_INET
    connected = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        connected.connect((socket.inet_ntop(family, address), port))
    except BlockingIOError:
        pass
    except OSError:
        connected.close()
        raise
    return connected


def has_ipv6() -> bool:
    """Whether this host has a way out for IPv6. Asks the routing table alone: nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(_OUTSIDE_V6)
    except OSError:
        return False
    return True
