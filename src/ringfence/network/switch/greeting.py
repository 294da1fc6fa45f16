"""What a VMM and a switch tell each other first: one JSON message each way, then packets.

    {"version": 1, "name": "web", "forwards": ["127.0.0.1:8080:80"], "allow": null, "dns": []}
    {"version": 1, "name": "web", "mac": "52:52:46:…", "address": "10.0.2.15"}    or    {"error": "…"}

A peer is checked by the kernel first (SO_PEERCRED): only processes of the same user are let in.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any

from ringfence.api.network import (
    Forward,
    NameServer,
    NetConfig,
    parse_allow,
    parse_forward,
    parse_name_server,
)
from ringfence.errors import UserError

VERSION = 1
MESSAGE_BYTES_MAX = 65536
_FORWARDS_MAX = 256
_ALLOW_MAX = 1024
_NAME_SERVERS_MAX = 16
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True)
class Hello:
    """Who wants to be plugged in."""

    name: str
    forwards: tuple[Forward, ...]
    allow: tuple[str, ...] | None
    name_servers: tuple[NameServer, ...]


@dataclass(frozen=True)
class Welcome:
    """What it is on this switch."""

    name: str
    mac: str
    address: str


def is_same_user(connected: socket.socket) -> bool:
    data = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(data)
    return bool(user == os.geteuid())


def write_hello(net: NetConfig) -> bytes:
    message = {
        "name": net.name,
        "forwards": [str(each) for each in net.forwards],
        "allow": net.allow,
        "dns": [str(each) for each in net.name_servers],
    }
    return _write(message)


def read_hello(message: bytes) -> Hello:
    """Raises:
    UserError: it is none.
    """
    fields = _read(message)
    name, forwards, allow = fields.get("name"), fields.get("forwards"), fields.get("allow")
    if not isinstance(name, str) or not 0 < len(name) <= 63 or not name.isascii():
        raise UserError("the name of a machine on a switch has 1 to 63 letters")
    rules = None if allow is None else tuple(map(parse_allow, _strings(allow, _ALLOW_MAX)))
    ports = tuple(map(parse_forward, _strings(forwards, _FORWARDS_MAX)))
    name_servers = tuple(map(parse_name_server, _strings(fields.get("dns"), _NAME_SERVERS_MAX)))
    return Hello(name, ports, rules, name_servers)


def write_welcome(welcome: Welcome) -> bytes:
    return _write(asdict(welcome))


def write_refusal(reason: str) -> bytes:
    return _write({"error": reason})


def read_welcome(message: bytes) -> Welcome:
    """Raises:
    UserError: it is none, or a refusal.
    """
    fields = _read(message)
    if "error" in fields:
        raise UserError(str(fields["error"]))
    try:
        return Welcome(str(fields["name"]), str(fields["mac"]), str(fields["address"]))
    except KeyError as error:
        raise UserError("a switch of another version") from error


def _strings(value: Any, limit: int) -> list[str]:
    if isinstance(value, list) and len(value) <= limit and all(isinstance(each, str) for each in value):
        return value
    raise UserError(f"ports, rules and name servers are lists of strings, {limit} at most")


def _write(fields: dict[str, Any]) -> bytes:
    return json.dumps({"version": VERSION, **fields}).encode()


def _read(message: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise UserError("not a message of a switch") from error
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        raise UserError("a switch of another version")
    return fields
