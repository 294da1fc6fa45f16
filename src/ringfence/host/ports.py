"""Ports of this host that lead to a guest."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ringfence.api.network import Forward, parse_forward
from ringfence.errors import UserError
from ringfence.host.registry import find


@dataclass(frozen=True, slots=True)
class Published:
    """One of them."""

    host: str
    host_port: int
    guest_port: int
    protocol: str

    @property
    def address(self) -> str:
        """Where it is reached, as a URL has it."""
        return f"[{self.host}]:{self.host_port}" if ":" in self.host else f"{self.host}:{self.host_port}"


def published(name: str) -> list[Published]:
    """Raises:
    UserError: there is no such machine.
    """
    spec = find(name).spec
    forwards = map(parse_forward, spec.machine.get("publish", ())) if spec else ()
    return [
        Published(each.host_ip, each.host_port, each.guest_port, "udp" if each.is_udp else "tcp")
        for each in forwards
    ]


def choose_ports(publish: Sequence[str]) -> list[str]:
    """The same, with a free port of this host for each that was left open.

    Somebody else may be quicker to take it; then the machine does not start.

    Raises:
        UserError: one is none, or there is no such address.
    """
    with ExitStack() as stack:
        return [_chosen(text, stack) for text in publish]


def _chosen(text: str, stack: ExitStack) -> str:
    forward = parse_forward(text)
    return text if forward.host_port else str(replace(forward, host_port=_free_port(forward, stack)))


def _free_port(forward: Forward, stack: ExitStack) -> int:
    """One that is held until the others are chosen."""
    family = socket.AF_INET6 if ":" in forward.host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if forward.is_udp else socket.SOCK_STREAM
    try:
        held = stack.enter_context(socket.socket(family, kind))
        held.bind((forward.host_ip, 0))
    except OSError as error:
        raise UserError(f"can't publish {forward}: {error.strerror}") from error
    port: int = held.getsockname()[1]
    return port
