"""What a machine on a switch may say: that it is itself.

Addresses of Ethernet, ARP (RFC 826), IPv4, IPv6 and neighbor discovery (RFC 4861) are compared with what the
machine was given. The network's own part, to lead the way out and to give addresses, is not for machines to
play (as RFC 6105 and DHCP snooping have it). Headers that could hide one of these (RFC 7113) do not pass, and
the first fragment of a datagram has to show what it is.
"""

from __future__ import annotations

from ringfence.network.user.addresses import ANY, ANY6, Client, Clients

_IPV4, _ARP, _IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"
_UDP, _ICMPV6 = 17, 58
_ROUTER_ADVERTISEMENT, _NEIGHBOR_ADVERTISEMENT, _REDIRECT = 134, 136, 137
_FRAGMENT = 44
#: Hop-by-hop options, routing, destination options.
_HIDING = frozenset((0, 43, 60))
_OFFSET_V4, _OFFSET_V6 = 0x1FFF, 0xFFF8
_DHCP_SERVER, _DHCPV6_SERVER = 67, 547


def is_honest(clients: Clients, client: Client, frame: memoryview) -> bool:
    """Whether a frame of ``client`` comes from where it says, and says nothing for others.

    Args:
        frame: at least an Ethernet header.
    """
    if frame[6:12] != client.mac:
        return False
    ethertype = bytes(frame[12:14])
    if ethertype == _IPV4:
        if len(frame) < 34 or not _owns(clients, client, frame[26:30]):
            return False
        is_later = bool(int.from_bytes(frame[20:22], "big") & _OFFSET_V4)
        return is_later or not _is_from(frame[14 + 4 * (frame[14] & 15) :], frame[23], _DHCP_SERVER)
    if ethertype == _ARP:
        return frame[22:28] == client.mac and _owns(clients, client, frame[28:32])
    if ethertype == _IPV6:
        if len(frame) < 54 or not _owns(clients, client, frame[22:38]):
            return False
        return _is_honest_v6(clients, client, frame[20], frame[54:])
    return True


def _is_honest_v6(clients: Clients, client: Client, protocol: int, payload: memoryview) -> bool:
    if protocol == _FRAGMENT:
        if len(payload) < 8 or payload[0] == _FRAGMENT:
            return False
        if int.from_bytes(payload[2:4], "big") & _OFFSET_V6:
            return True
        protocol, payload = payload[0], payload[8:]
    if protocol in _HIDING or _is_from(payload, protocol, _DHCPV6_SERVER):
        return False
    return protocol != _ICMPV6 or _is_honest_icmp6(clients, client, payload)


def _owns(clients: Clients, client: Client, address: memoryview) -> bool:
    source = bytes(address)
    return source in (ANY, ANY6) or (len(source) in (4, 16) and clients.owns(client, source))


def _is_from(payload: memoryview, protocol: int, port: int) -> bool:
    return protocol == _UDP and int.from_bytes(payload[:2], "big") == port


def _is_honest_icmp6(clients: Clients, client: Client, message: memoryview) -> bool:
    kind = message[0] if message else 0
    if kind == _NEIGHBOR_ADVERTISEMENT:
        return len(message) >= 24 and _owns(clients, client, message[8:24])
    return kind not in (_ROUTER_ADVERTISEMENT, _REDIRECT)
