"""A DHCP server (RFC 2131, options of RFC 2132): each guest gets the address that it has already."""

from __future__ import annotations

import struct

from ringfence.network.user.addresses import DNS, EVERYBODY, GATEWAY, NETMASK, Client
from ringfence.network.user.names import DOMAIN

SERVER_PORT, CLIENT_PORT = 67, 68
LEASE_SECONDS = 86400
MTU = 1500

_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK, _INFORM = 1, 2, 3, 5, 6, 8
_MESSAGE = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s")
_COOKIE = bytes.fromhex("63825363")
_REQUESTED, _TYPE, _SERVER = 50, 53, 54
_PAD, _END = 0, 255


def answer(request: memoryview, client: Client) -> tuple[bytes, bytes] | None:
    """The reply to a client's message, and the address it goes to."""
    if len(request) < _MESSAGE.size + 4 or bytes(request[_MESSAGE.size : _MESSAGE.size + 4]) != _COOKIE:
        return None
    fields = _MESSAGE.unpack_from(request)
    operation, kind, mac_bytes, _, transaction, _, flags, current, _, _, _, hardware, _, _ = fields
    if (operation, kind, mac_bytes) != (1, 1, 6) or hardware[:6] != client.mac:
        return None
    options = _options(request[_MESSAGE.size + 4 :])
    reply = _reply_type(options, current, client)
    if reply is None:
        return None
    given = client.ip4 if reply in (_OFFER, _ACK) and options[_TYPE] != bytes([_INFORM]) else bytes(4)
    header = _MESSAGE.pack(
        2, 1, 6, 0, transaction, 0, flags, current, given, GATEWAY, bytes(4), hardware, b"", b""
    )
    body = header + _COOKIE + _reply_options(reply, client)
    to = current if any(current) and reply != _NAK else EVERYBODY
    return body.ljust(300, b"\0"), to


def _reply_type(options: dict[int, bytes], current: bytes, client: Client) -> int | None:
    kind = options.get(_TYPE)
    if kind == bytes([_DISCOVER]):
        return _OFFER
    if kind == bytes([_INFORM]):
        return _ACK
    if kind != bytes([_REQUEST]) or options.get(_SERVER, GATEWAY) != GATEWAY:
        return None
    wanted = options.get(_REQUESTED, current)
    return _ACK if wanted == client.ip4 else _NAK


def _reply_options(reply: int, client: Client) -> bytes:
    options = [(_TYPE, bytes([reply])), (_SERVER, GATEWAY)]
    if reply != _NAK:
        options += [
            (1, NETMASK),
            (3, GATEWAY),
            (6, DNS),
            (12, client.name.encode()),
            (15, DOMAIN.encode()),
            (26, MTU.to_bytes(2, "big")),
            (51, LEASE_SECONDS.to_bytes(4, "big")),
        ]
    return b"".join(bytes([kind, len(value)]) + value for kind, value in options) + bytes([_END])


def _options(data: memoryview) -> dict[int, bytes]:
    """The options as far as they are well-formed; each step goes on by a byte at least."""
    options: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            break
        options[data[at]] = bytes(data[at + 2 : at + 2 + data[at + 1]])
        at += 2 + data[at + 1]
    return options
