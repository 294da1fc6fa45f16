"""What a virtual machine's network is made of, as its user writes it.

--network none|user|loopback|SWITCH|/path/to/socket
-p [[HOSTIP:]HOSTPORT:]GUESTPORT[/udp]
--allow NAME|*.NAME|ADDRESS[/BITS]
--dns ADDRESS[:PORT]|[ADDRESS]:PORT
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ringfence.errors import UserError

#: Reachable from this machine alone, unless the user says otherwise.
DEFAULT_HOST_IP = "127.0.0.1"
DNS_PORT = 53
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(\*|(\*\.)?{_LABEL}(\.{_LABEL})*)\.?", re.ASCII)
_SWITCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Forward:
    """A port of the host that leads to one of the guest's."""

    host_ip: str
    host_port: int
    guest_port: int
    is_udp: bool = False

    def __str__(self) -> str:
        ip = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"{ip}:{self.host_port}:{self.guest_port}{'/udp' * self.is_udp}"


@dataclass(frozen=True)
class NameServer:
    """Who answers the guest's questions for names, as this host reaches it."""

    ip: str
    port: int = DNS_PORT

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True)
class NetConfig:
    """A NIC and what it is plugged into.

    Attributes:
        kind: ``user``, ``loopback``, ``switch`` or ``stream``.
        switch: the switch's name.
        socket: where a process listens that speaks QEMU's stream framing, as passt does.
        forwards: ports of the host that lead to the guest.
        allow: what the guest may reach: names and networks; None for all but the host itself.
        capture: a file for all that passes.
        name: of the guest, as the network gives it to others.
        name_servers: who is asked for names outside; none for those that the host asks.
    """

    kind: str
    switch: str = ""
    socket: Path | None = None
    forwards: tuple[Forward, ...] = ()
    allow: tuple[str, ...] | None = None
    capture: Path | None = None
    name: str = "guest"
    name_servers: tuple[NameServer, ...] = ()


def parse_network(
    network: str,
    publish: Sequence[str] = (),
    allow: Sequence[str] = (),
    capture: str | None = None,
    name: str = "",
    dns: Sequence[str] = (),
) -> NetConfig | None:
    """The NIC that these describe; None for no network.

    Raises:
        UserError: they describe none, or contradict each other.
    """
    forwards = tuple(parse_forward(text) for text in publish)
    rules = tuple(parse_allow(text) for text in allow) or None
    name_servers = tuple(parse_name_server(text) for text in dns)
    kind, switch, socket = _parse_kind(network)
    if kind not in ("user", "switch") and (forwards or rules or name_servers):
        raise UserError(f"--publish, --allow and --dns need a network: they say nothing of {network!r}")
    if kind == "none" and capture:
        raise UserError("nothing to capture without a network")
    if kind == "none":
        return None
    name = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63] or "guest"
    path = Path(capture) if capture else None
    return NetConfig(kind, switch, socket, forwards, rules, path, name, name_servers)


def _parse_kind(network: str) -> tuple[str, str, Path | None]:
    if network in ("none", "user", "loopback"):
        return network, "", None
    if "/" in network:
        return "stream", "", Path(network)
    if not _SWITCH_NAME.fullmatch(network):
        raise UserError(
            f"no network {network!r}: choose none, user, loopback, a switch's name or a socket's path"
        )
    return "switch", network, None


def parse_forward(text: str) -> Forward:
    """``[[HOSTIP:]HOSTPORT:]GUESTPORT[/tcp|/udp]``, IPv6 in brackets; host port 0 is any free one."""
    ports, _, protocol = text.partition("/")
    match = re.fullmatch(r"(?:(?:(\[[^]]*\]|[^:]*):)?(\d{1,5}):)?(\d{1,5})", ports, re.ASCII)
    if match is None or protocol not in ("", "tcp", "udp"):
        raise UserError(f"not a published port: {text!r} (write [[HOSTIP:]HOSTPORT:]GUESTPORT[/udp])")
    host_ip = (match.group(1) or DEFAULT_HOST_IP).strip("[]")
    host_port, guest_port = int(match.group(2) or 0), int(match.group(3))
    try:
        host_ip = str(ipaddress.ip_address(host_ip))
    except ValueError as error:
        raise UserError(f"not an address to publish at: {host_ip!r}") from error
    if not 0 <= host_port <= 0xFFFF or not 1 <= guest_port <= 0xFFFF:
        raise UserError(f"not a port: {text!r}")
    return Forward(host_ip, host_port, guest_port, protocol == "udp")


def parse_allow(text: str) -> str:
    """A name, in lower case and without a dot at its end, or a network."""
    network = as_network(text)
    if network is not None:
        return str(network)
    if not _NAME.fullmatch(text) or len(text) > 254 or re.fullmatch(r"[\d.]+", text):
        raise UserError(f"not a name or a network to allow: {text!r} (write NAME, *.NAME or ADDRESS/BITS)")
    return text.lower().rstrip(".")


def parse_name_server(text: str) -> NameServer:
    """``ADDRESS[:PORT]``, an IPv6 address in brackets where there is a port."""
    match = re.fullmatch(r"(\[[^]]*:[^]]*\]|[^]:[]+)(?::(\d{1,5}))?", text, re.ASCII)
    ip, port = (match.group(1).strip("[]"), int(match.group(2) or DNS_PORT)) if match else (text, DNS_PORT)
    try:
        address = ipaddress.ip_address(ip)
    except ValueError as error:
        raise UserError(
            f"not a name server: {text!r} (write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT)"
        ) from error
    if address.is_multicast or address.is_unspecified or "%" in ip:
        raise UserError(f"not the address of a name server: {ip!r}")
    if not 1 <= port <= 0xFFFF:
        raise UserError(f"not a port: {text!r}")
    return NameServer(str(address), port)


def as_network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
