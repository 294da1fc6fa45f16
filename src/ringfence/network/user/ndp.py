"""Neighbor discovery for IPv6 (RFC 4861): who has an address, and which prefix is ours."""

from __future__ import annotations

import struct

from ringfence.network.user import ip
from ringfence.network.user.addresses import ANY6, DNS6, GATEWAY6, GATEWAY_MAC, LINK_LOCAL, PREFIX6, Client
from ringfence.network.user.ip import Datagram

_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT = 133, 134
_NEIGHBOR_SOLICITATION, _NEIGHBOR_ADVERTISEMENT = 135, 136
_HOP_LIMIT = 255
_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29
_ALL_NODES = bytes.fromhex("ff02") + bytes(13) + b"\x01"
_LIFETIME_SECONDS = 1800
_PREFIX_SECONDS = 86400


def answer(client: Client, datagram: Datagram, is_router: bool) -> bytes | None:
    """The packet that answers a solicitation; ``is_router``: there is a way out for IPv6."""
    message = datagram.payload
    hop_limit = datagram.packet[12 + ip.ETHERNET_BYTES + 7]
    if len(message) < 8 or hop_limit != _HOP_LIMIT:
        return None
    to = _ALL_NODES if datagram.source == ANY6 else datagram.source
    if message[0] == _ROUTER_SOLICITATION:
        return ip.icmp6_packet(client.mac, LINK_LOCAL, to, _router(is_router))
    if message[0] == _NEIGHBOR_SOLICITATION and len(message) >= 24:
        target = bytes(message[8:24])
        if target in (GATEWAY6, DNS6, LINK_LOCAL):
            flags = _ROUTER | _OVERRIDE | (_SOLICITED if datagram.source != ANY6 else 0)
            head = struct.pack(">BBHI", _NEIGHBOR_ADVERTISEMENT, 0, 0, flags)
            return ip.icmp6_packet(client.mac, target, to, head + target + b"\x02\x01" + GATEWAY_MAC)
    return None


def is_solicitation(datagram: Datagram) -> bool:
    kinds = (_ROUTER_SOLICITATION, _NEIGHBOR_SOLICITATION)
    return len(datagram.payload) >= 8 and datagram.payload[0] in kinds


def _router(is_router: bool) -> bytes:
    """Our prefix for addresses that guests make themselves, and where names are resolved (RFC 8106)."""
    lifetime = _LIFETIME_SECONDS if is_router else 0
    head = struct.pack(">BBHBBHII", _ROUTER_ADVERTISEMENT, 0, 0, 64, 0, lifetime, 0, 0)
    prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, _PREFIX_SECONDS, _PREFIX_SECONDS, 0) + PREFIX6 + bytes(8)
    dns = struct.pack(">BBHI", 25, 3, 0, _LIFETIME_SECONDS) + DNS6
    return head + b"\x01\x01" + GATEWAY_MAC + prefix + dns
