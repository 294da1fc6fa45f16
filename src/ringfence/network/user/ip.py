"""Internet datagrams: IPv4 (RFC 791) and IPv6 (RFC 8200), as a guest sends them and as it gets them.

What is only a part of one is told apart here, and put together by `fragments`. Addresses are bytes, 4 or 16,
so that one piece of code does for both families.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ringfence.network import offload
from ringfence.network.checksum import checksum, pseudo_sum, word_sum
from ringfence.network.user.addresses import GATEWAY_MAC

ETHERNET_BYTES = 14
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
#: The longest datagram that a frame to a guest holds.
MTU = 1500

_HOP_LIMIT = 64
_DONT_FRAGMENT, _MORE_FRAGMENTS = 0x4000, 0x2000
_FRAGMENT_HEADER = struct.Struct(">BBHI")
#: Where it begins in a packet.
_IP = offload.HEADER_BYTES + ETHERNET_BYTES
_ETHERNET_V4 = struct.Struct(">6s6sHBBHHHBBH4s4s")
_ETHERNET_V6 = struct.Struct(">6s6sHIHBB16s16s")
#: Where a checksum is in its header.
_CHECKSUM_OFFSETS = {TCP: 16, UDP: 6}


class Datagram(NamedTuple):
    """One that was received, whole. ``packet`` is where it came in."""

    source: bytes
    destination: bytes
    protocol: int
    payload: memoryview
    packet: bytes


class Fragment(NamedTuple):
    """A part of one. ``protocol`` is what its IP header says; ``head`` is what is before the payload of the
    whole, but for what depends on its length.
    """

    source: bytes
    destination: bytes
    protocol: int
    identification: int
    offset: int
    is_last: bool
    payload: memoryview
    head: bytes


def parse(packet: bytes) -> Datagram | Fragment | str:
    """The datagram in a frame of IP, or the part of it; a string says what is wrong with it."""
    frame = memoryview(packet)[offload.HEADER_BYTES :]
    ip = frame[ETHERNET_BYTES:]
    return _parse_v4(packet, ip) if frame[12] == 0x08 else _parse_v6(packet, ip)


def _parse_v4(packet: bytes, ip: memoryview) -> Datagram | Fragment | str:
    if len(ip) < 20 or ip[0] >> 4 != 4:
        return "ip_malformed"
    header_bytes = 4 * (ip[0] & 15)
    (length,) = struct.unpack_from(">H", ip, 2)
    if not 20 <= header_bytes <= length <= len(ip):
        return "ip_malformed"
    if word_sum(ip[:header_bytes]) != 0xFFFF:
        return "ip_bad_checksum"
    identification, fragment = struct.unpack_from(">HH", ip, 4)
    source, destination, protocol = bytes(ip[12:16]), bytes(ip[16:20]), ip[9]
    payload = ip[header_bytes:length]
    if fragment & 0x3FFF:
        offset, is_last = (fragment & 0x1FFF) << 3, not fragment & _MORE_FRAGMENTS
        head = packet[: _IP + header_bytes]
        return Fragment(source, destination, protocol, identification, offset, is_last, payload, head)
    return _checked(Datagram(source, destination, protocol, payload, packet))


def _parse_v6(packet: bytes, ip: memoryview) -> Datagram | Fragment | str:
    if len(ip) < 40 or ip[0] >> 4 != 6:
        return "ip_malformed"
    (length,) = struct.unpack_from(">H", ip, 4)
    if 40 + length > len(ip):
        return "ip_malformed"
    payload = ip[40 : 40 + length]
    if ip[6] == FRAGMENT:
        return _parse_v6_fragment(packet, ip, payload)
    return _checked(Datagram(bytes(ip[8:24]), bytes(ip[24:40]), ip[6], payload, packet))


def _parse_v6_fragment(packet: bytes, ip: memoryview, payload: memoryview) -> Fragment | str:
    if len(payload) < _FRAGMENT_HEADER.size:
        return "ip_malformed"
    protocol, _, fragment, identification = _FRAGMENT_HEADER.unpack_from(payload)
    head = packet[: _IP + 6] + bytes([protocol]) + packet[_IP + 7 : _IP + 40]
    return Fragment(
        bytes(ip[8:24]), bytes(ip[24:40]), FRAGMENT, identification, fragment & 0xFFF8, not fragment & 1,
        payload[_FRAGMENT_HEADER.size :], head,
    )  # fmt: skip


def _checked(datagram: Datagram) -> Datagram | str:
    """Sum what a guest has summed; what it left to us has not been on any wire."""
    source, destination, protocol, payload, packet = datagram
    if packet[0] & offload.NEEDS_CSUM or protocol == ICMP:
        return datagram
    if protocol == UDP and len(source) == 4 and len(payload) >= 8 and payload[6:8] == b"\0\0":
        return datagram
    if protocol in (TCP, UDP, ICMPV6):
        total = word_sum(payload) + pseudo_sum(source, destination, protocol, len(payload))
        if total % 0xFFFF:
            return "bad_checksum"
    return datagram


def headers(
    mac: bytes,
    source: bytes,
    destination: bytes,
    protocol: int,
    length: int,
    identification: int = 0,
    fragment: int = _DONT_FRAGMENT,
) -> bytes:
    """Ethernet and IP headers for ``length`` bytes to the station ``mac``. The last two are of IPv4."""
    if len(source) == 16:
        return _ETHERNET_V6.pack(
            mac, GATEWAY_MAC, IPV6, 0x6000_0000, length, protocol, _HOP_LIMIT, source, destination
        )
    total = length + 20
    constant = 0x4500 + identification + fragment + (_HOP_LIMIT << 8 | protocol)
    summed = (constant + total + word_sum(source + destination)) % 0xFFFF
    return _ETHERNET_V4.pack(
        mac, GATEWAY_MAC, IPV4,
        0x45, 0, total, identification, fragment, _HOP_LIMIT, protocol, summed ^ 0xFFFF, source, destination,
    )  # fmt: skip


def payload_max(is_v6: bool) -> int:
    """What a datagram carries to a guest without being cut."""
    return MTU - (40 if is_v6 else 20)


def packet(mac: bytes, source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """A packet whose ``payload`` has its checksum, if it has one."""
    return b"".join((offload.PLAIN, headers(mac, source, destination, protocol, len(payload)), payload))


def transport_header(is_v6: bool, protocol: int, gso_size: int = 0) -> bytes:
    """The virtio-net header of a packet that leaves its checksum, and its cutting, to who gets it."""
    start = ETHERNET_BYTES + (40 if is_v6 else 20)
    kind = (offload.GSO_TCPV6 if is_v6 else offload.GSO_TCPV4) if gso_size else offload.GSO_NONE
    return offload.HEADER.pack(
        offload.NEEDS_CSUM,
        kind,
        start + 20 if gso_size else 0,
        gso_size,
        start,
        _CHECKSUM_OFFSETS[protocol],
        0,
    )


def icmp6_packet(
    mac: bytes, source: bytes, destination: bytes, message: bytes, hop_limit: int = 255
) -> bytes:
    """An ICMPv6 message whose checksum field, at offset 2, is still zero."""
    start = pseudo_sum(source, destination, ICMPV6, len(message))
    whole = message[:2] + checksum(message, start).to_bytes(2, "big") + message[4:]
    head = bytearray(headers(mac, source, destination, ICMPV6, len(whole)))
    head[21] = hop_limit
    return offload.PLAIN + bytes(head) + whole
