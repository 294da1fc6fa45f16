"""ARP (RFC 826): the gateway answers for its own addresses."""

from __future__ import annotations

import struct

from ringfence.network import offload
from ringfence.network.user.addresses import DNS, GATEWAY, GATEWAY_MAC

_MESSAGE = struct.Struct(">HHBBH6s4s6s4s")
_ETHERNET = struct.Struct(">6s6sH")
_REQUEST, _REPLY = 1, 2


def answer(frame: memoryview) -> bytes | None:
    """The packet that answers a request for one of our addresses."""
    if len(frame) < 14 + _MESSAGE.size:
        return None
    hardware, protocol, mac_bytes, ip_bytes, operation, mac, ip, _, target = _MESSAGE.unpack_from(frame, 14)
    if (hardware, protocol, mac_bytes, ip_bytes, operation) != (1, 0x0800, 6, 4, _REQUEST):
        return None
    if target not in (GATEWAY, DNS):
        return None
    message = _MESSAGE.pack(1, 0x0800, 6, 4, _REPLY, GATEWAY_MAC, target, mac, ip)
    return offload.PLAIN + _ETHERNET.pack(mac, GATEWAY_MAC, 0x0806) + message
