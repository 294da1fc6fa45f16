"""Ports of this host that lead to a guest, from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ringfence.host.registry import find

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Published:
    """One of them."""

    host: str
    host_port: int
    guest_port: int
    protocol: str


def published(name: str) -> list[Published]:
    """Raises:
    UserError: there is no such machine.
    """
    spec = find(name).spec
    return [_parse(text) for text in spec.machine.get("publish", ())] if spec else []


def _parse(text: str) -> Published:
    """``[HOSTIP:]HOSTPORT:GUESTPORT[/udp]``, which was checked when the machine was made."""
    ports, _, protocol = text.partition("/")
    *host, host_port, guest_port = ports.rsplit(":", 2)
    return Published(host[0] if host else LOOPBACK, int(host_port), int(guest_port), protocol or "tcp")
