"""Who answers to what on a user network: ARP, neighbor discovery, echo, DHCP; and what it drops."""

from __future__ import annotations

import struct

import pytest
from fake_station import (
    DNS,
    EVERYBODY,
    GATEWAY,
    GATEWAY_MAC,
    GUEST,
    MAC,
    NOBODY,
    Station,
    ipv4,
    ones_sum,
    udp,
    udp_of,
)

from ringfence.network.offload import PLAIN

PREFIX6 = bytes.fromhex("fd52524672660000")
GATEWAY6 = PREFIX6 + bytes(7) + b"\x02"
LINK_LOCAL = bytes.fromhex("fe80000000000000505246fffe000001")
ALL_ROUTERS = bytes.fromhex("ff02") + bytes(13) + b"\x02"
COOKIE = bytes.fromhex("63825363")


def _arp(target: bytes, operation: int = 1) -> bytes:
    body = struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, MAC, GUEST, bytes(6), target)
    return PLAIN + b"\xff" * 6 + MAC + b"\x08\x06" + body


@pytest.mark.parametrize("address", [GATEWAY, DNS])
def test_the_gateway_answers_for_its_addresses(station: Station, address: bytes) -> None:
    (reply,) = station.send(_arp(address))
    assert reply[:14] == MAC + GATEWAY_MAC + b"\x08\x06"
    assert reply[20:42] == b"\0\x02" + GATEWAY_MAC + address + MAC + GUEST


def test_for_no_other(station: Station) -> None:
    assert station.send(_arp(b"\x0a\0\x02\x63"), _arp(GUEST), _arp(GATEWAY, 2), _arp(GATEWAY)[:50]) == []


def _echo(destination: bytes = GATEWAY, source: bytes = GUEST) -> bytes:
    message = struct.pack(">BBHHH", 8, 0, 0, 77, 3) + b"ping"
    message = message[:2] + struct.pack(">H", ones_sum(message) ^ 0xFFFF) + message[4:]
    return ipv4(source, destination, 1, message)


def test_the_gateway_answers_a_ping(station: Station) -> None:
    (reply,) = station.send(_echo())
    assert reply[26:34] == GATEWAY + GUEST
    assert reply[34:36] == b"\0\0" and reply[38:] == struct.pack(">HH", 77, 3) + b"ping"
    assert ones_sum(reply[34:]) == 0xFFFF


def test_a_ping_to_who_is_not_allowed_is_told_so(make_station) -> None:
    station = make_station(allow=("10.9.0.0/16",))
    (reply,) = station.send(_echo(b"\xc0\0\x02\x01"))
    assert reply[34:36] == bytes([3, 13])
    assert reply[42:46] == b"\x45\0\0\x20", "the datagram is quoted"
    assert station.network.counters["denied"] == 1


def _icmp6(kind: int, rest: bytes, source: bytes, destination: bytes) -> bytes:
    message = struct.pack(">BBHI", kind, 0, 0, 0) + rest
    pseudo = source + destination + struct.pack(">II", len(message), 58)
    message = message[:2] + struct.pack(">H", ones_sum(pseudo + message) ^ 0xFFFF) + message[4:]
    head = struct.pack(">IHBB", 6 << 28, len(message), 58, 255) + source + destination
    return PLAIN + GATEWAY_MAC + MAC + b"\x86\xdd" + head + message


def _icmp6_of(frame: bytes) -> bytes:
    assert frame[12:14] == b"\x86\xdd" and frame[20] == 58
    message = frame[54:]
    assert ones_sum(frame[22:54] + struct.pack(">II", len(message), 58) + message) == 0xFFFF
    return message


def test_a_router_is_advertised(station: Station) -> None:
    (frame,) = station.send(_icmp6(133, b"", LINK_LOCAL, ALL_ROUTERS))
    message = _icmp6_of(frame)
    assert message[0] == 134 and frame[21] == 255
    assert PREFIX6 in message and b"\x01\x01" + GATEWAY_MAC in message


def test_a_neighbor_is_found_and_pinged(station: Station) -> None:
    own = PREFIX6 + bytes(7) + b"\x77"
    (frame,) = station.send(_icmp6(135, GATEWAY6, own, GATEWAY6))
    message = _icmp6_of(frame)
    assert message[0] == 136 and message[8:] == GATEWAY6 + b"\x02\x01" + GATEWAY_MAC
    (frame,) = station.send(_icmp6(128, b"ping", own, GATEWAY6))
    assert _icmp6_of(frame)[0] == 129 and frame.endswith(b"ping")
    assert own in station.client.ip6


def test_nobody_is_asked_for_an_address_of_the_guests_own(station: Station) -> None:
    assert station.send(_icmp6(135, LINK_LOCAL, bytes(16), ALL_ROUTERS)) == []


def _dhcp(kind: int, *options: tuple[int, bytes], mac: bytes = MAC) -> bytes:
    head = struct.pack(">BBBBIHH16s16s192s", 1, 1, 6, 0, 0x1234, 0, 0, b"", mac, b"")
    body = b"".join(bytes([each, len(value)]) + value for each, value in [(53, bytes([kind])), *options])
    return udp(68, EVERYBODY, 67, head + COOKIE + body + b"\xff", source=NOBODY)


def _options(message: bytes) -> dict[int, bytes]:
    assert message[236:240] == COOKIE
    options, at = {}, 240
    while message[at] != 255:
        options[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
        at += 2 + message[at + 1]
    return options


def test_an_address_is_offered_and_given(station: Station) -> None:
    for kind, answer in ((1, 2), (3, 5)):
        (frame,) = station.send(_dhcp(kind, (50, GUEST)))
        source, source_port, destination, port, message = udp_of(frame)
        assert (source, source_port, destination, port) == (GATEWAY, 67, EVERYBODY, 68)
        assert message[:8] == b"\x02\x01\x06\0\0\0\x12\x34" and message[16:20] == GUEST
        options = _options(message)
        assert options[53] == bytes([answer])
        assert (options[1], options[3], options[6]) == (b"\xff\xff\xff\0", GATEWAY, DNS)
        assert options[12] == b"guest"


def test_another_address_is_refused(station: Station) -> None:
    (frame,) = station.send(_dhcp(3, (50, b"\xc0\xa8\0\x01")))
    assert _options(udp_of(frame)[4])[53] == b"\x06"


def test_dhcp_that_is_none(station: Station) -> None:
    assert station.send(_dhcp(3, (54, b"\x0a\0\x02\x09"))) == [], "meant for another server"
    assert station.send(_dhcp(9)) == []
    assert station.send(_dhcp(1, mac=bytes(6))) == [], "for another station"
    whole = udp_of(_dhcp(1)[12:])[4]
    for cut in (0, 100, 239, 241):
        assert station.send(udp(68, EVERYBODY, 67, whole[:cut], source=NOBODY)) == []
    assert station.network.counters["dhcp_ignored"] == 7


@pytest.mark.parametrize(
    ("packet", "counter"),
    [
        (PLAIN + GATEWAY_MAC + bytes(6) + b"\x08\0" + bytes(40), "unknown_station"),
        (PLAIN + GATEWAY_MAC + MAC + b"\x12\x34" + bytes(40), "ethertype_ignored"),
        (PLAIN + GATEWAY_MAC + MAC + b"\x08\0" + bytes(40), "ip_malformed"),
        (PLAIN + GATEWAY_MAC + MAC + b"\x08\0", "ip_malformed"),
        (PLAIN + GATEWAY_MAC + MAC + b"\x86\xdd" + b"\x60" + bytes(38), "ip_malformed"),
        (_echo()[:-1], "ip_malformed"),
        (_echo()[:30] + b"\x99" + _echo()[31:], "ip_bad_checksum"),
        (ipv4(GUEST, GATEWAY, 47, b"tunnel"), "protocol_ignored"),
        (_echo(source=b"\x08\x08\x08\x08"), "forged_source"),
        (_echo(source=GATEWAY), "forged_source"),
        (_echo(b"\xe0\0\0\x01"), "multicast_ignored"),
        (udp(1, GATEWAY, 2, b"x")[:-1] + b"y", "bad_checksum"),
        (ipv4(GUEST, GATEWAY, 17, struct.pack(">HHHH", 1, 2, 99, 0)), "udp_malformed"),
        (ipv4(GUEST, GATEWAY, 6, bytes(12) + b"\xff" + bytes(20)), "bad_checksum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_dropped_is_counted(station: Station, packet: bytes, counter: str) -> None:
    assert station.send(packet) == []
    assert station.network.counters[counter] == 1
