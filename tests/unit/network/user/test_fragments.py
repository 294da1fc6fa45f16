"""Fragments: a guest's are put together, what is too long for it is cut, what makes no sense is let go."""

from __future__ import annotations

import random
import socket
import struct

import pytest
from fake_fragments import GATEWAY6, GUEST6, cut4, cut6, fragment4, fragment6, join
from fake_station import GATEWAY, GUEST, MAC, Station, ones_sum, summed, udp

from ringfence.api.network import parse_forward
from ringfence.network.user import fragments, ip
from ringfence.network.user.fragments import BYTES_MAX, DATAGRAMS_MAX, FRAGMENTS_MAX, SECONDS

LONG = random.Random(1).randbytes(4000)


def _echo(data: bytes = LONG) -> bytes:
    message = struct.pack(">BBHHH", 8, 0, 0, 77, 3) + data
    return message[:2] + struct.pack(">H", ones_sum(message) ^ 0xFFFF) + message[4:]


def _echo6(data: bytes = LONG) -> bytes:
    message = struct.pack(">BBHHH", 128, 0, 0, 77, 3) + data
    value = ones_sum(_pseudo6(GUEST6, GATEWAY6, len(message)) + message) ^ 0xFFFF
    return message[:2] + struct.pack(">H", value) + message[4:]


def _pseudo6(source: bytes, destination: bytes, length: int) -> bytes:
    return source + destination + struct.pack(">II", length, 58)


def _orders(packets: list[bytes]) -> list[list[bytes]]:
    shuffled = packets[:]
    random.Random(2).shuffle(shuffled)
    return [
        packets,
        packets[::-1],
        shuffled,
        [each for packet in packets[:-1] for each in (packet,) * 2] + packets[-1:],
    ]


@pytest.mark.parametrize("order", range(4))
def test_a_long_echo(station: Station, order: int) -> None:
    packets = _orders(cut4(GUEST, GATEWAY, 1, _echo(), 800))[order]
    assert station.send(*packets[:-1]) == []
    frames = station.send(packets[-1])
    source, destination, protocol, payload = join(frames)
    assert (source, destination, protocol, len(frames)) == (GATEWAY, GUEST, 1, 3)
    assert payload[:2] == b"\0\0" and payload[4:] == struct.pack(">HH", 77, 3) + LONG
    assert ones_sum(payload) == 0xFFFF
    assert len(station.network._reassembly) == station.network._reassembly.used_bytes == 0


@pytest.mark.parametrize("order", range(4))
def test_a_long_echo_of_ipv6(station: Station, order: int) -> None:
    frames = station.send(*_orders(cut6(GUEST6, GATEWAY6, 58, _echo6(), 1232))[order])
    source, destination, protocol, payload = join(frames)
    assert (source, destination, protocol) == (GATEWAY6, GUEST6, 58)
    assert payload[:1] == b"\x81" and payload[4:] == struct.pack(">HH", 77, 3) + LONG
    assert ones_sum(_pseudo6(GATEWAY6, GUEST6, len(payload)) + payload) == 0xFFFF


def test_echoes_of_all_lengths_about_the_edges(station: Station) -> None:
    for length in (1471, 1472, 1473, 2951, 2952, 2953, 65507):
        data = random.Random(length).randbytes(length)
        frames = station.send(*cut4(GUEST, GATEWAY, 1, _echo(data)))
        payload = frames[0][34:] if len(frames) == 1 else join(frames)[3]
        assert len(frames) == -(-(length + 8) // 1480) and payload[8:] == data


def test_each_datagram_has_a_number_of_its_own(station: Station) -> None:
    numbers = {station.send(*cut4(GUEST, GATEWAY, 1, _echo()))[0][18:20] for _ in range(5)}
    assert len(numbers) == 5


def test_long_datagrams_both_ways(make_station) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        station = make_station()
        data = random.Random(3).randbytes(6000)
        segment = struct.pack(">HHHH", 5000, port, 8 + len(data), 0) + data
        station.send(*cut4(GUEST, GATEWAY, 17, summed(GUEST, GATEWAY, 17, segment, 6)))
        heard, peer = server.recvfrom(65535)
        assert heard == data
        server.sendto(data[::-1], peer)
        frames = station.until(lambda got: len(got) == 5)
    source, destination, protocol, payload = join(frames)
    assert (source, destination, protocol) == (GATEWAY, GUEST, 17)
    assert payload[:6] == struct.pack(">HHH", port, 5000, 6008) and payload[8:] == data[::-1]
    pseudo = source + destination + struct.pack(">BBH", 0, 17, len(payload))
    assert ones_sum(pseudo + payload) == 0xFFFF


def test_a_published_port_takes_long_datagrams(make_station) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    station = make_station(forwards=(parse_forward(f"{port}:53/udp"),))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.sendto(bytes(65507), ("127.0.0.1", port))
        frames = station.until(lambda got: len(got) == 45)
    assert join(frames)[3][8:] == bytes(65507)


def test_a_damaged_datagram_is_dropped(station: Station) -> None:
    packets = cut4(GUEST, GATEWAY, 1, _echo())
    udp_packets = cut4(GUEST, GATEWAY, 17, udp(1, GATEWAY, 2, bytes(3000))[46:-1] + b"x")
    assert station.send(*packets[:-1], *udp_packets) == []
    assert station.network.counters["bad_checksum"] == 1


# -- what makes no sense --


@pytest.mark.parametrize(
    "second",
    [
        (8, False, 800),
        (8, False, 8),
        (792, False, 800),
        (792, True, 9),
        (0, False, 800),
        (0, False, 8),
        (0, False, 808),
    ],
    ids=str,
)
def test_overlapping_fragments_spoil_the_datagram(station: Station, second: tuple[int, bool, int]) -> None:
    packets = cut4(GUEST, GATEWAY, 1, _echo(), 800)
    station.send(packets[0])
    at, is_last, size = second
    station.send(fragment4(GUEST, GATEWAY, 1, at, is_last, bytes(size)))
    assert station.send(*packets[1:], *packets) == [], "and all that comes of it later"
    assert station.network.counters["ip_fragments_overlap"] == 1
    assert station.network._reassembly.used_bytes == 0
    assert station.send(*cut4(GUEST, GATEWAY, 1, _echo(), number=8)) != [], "no other is concerned"


def test_two_ends_spoil_the_datagram(station: Station) -> None:
    for packet in (
        fragment4(GUEST, GATEWAY, 1, 1600, True, bytes(100)),
        fragment4(GUEST, GATEWAY, 1, 1704, True, bytes(100)),
    ):
        station.send(packet)
    station.send(
        fragment4(GUEST, GATEWAY, 1, 1600, False, bytes(104), 8),
        fragment4(GUEST, GATEWAY, 1, 800, True, bytes(9), 8),
    )
    assert station.network.counters["ip_fragments_overlap"] == 2


@pytest.mark.parametrize(
    ("packet", "counter"),
    [
        (fragment4(GUEST, GATEWAY, 1, 0, False, b""), "ip_fragment_malformed"),
        (fragment4(GUEST, GATEWAY, 1, 8, True, b""), "ip_fragment_malformed"),
        (fragment4(GUEST, GATEWAY, 1, 0, False, bytes(9)), "ip_fragment_malformed"),
        (fragment4(GUEST, GATEWAY, 1, 65528, False, bytes(8)), "ip_fragment_malformed"),
        (fragment4(GUEST, GATEWAY, 1, 64808, True, bytes(800)), "ip_fragment_malformed"),
        (fragment6(GUEST6, GATEWAY6, 58, 8, False, bytes(7)), "ip_fragment_malformed"),
        (fragment6(GUEST6, GATEWAY6, 58, 0, True, b""), "ip_fragment_malformed"),
        (fragment6(GUEST6, GATEWAY6, 44, 0, True, bytes(8)), "ip_fragment_malformed"),
        (fragment6(GUEST6, GATEWAY6, 0, 0, True, bytes(8)), "protocol_ignored"),
        (fragment6(bytes(16), GATEWAY6, 17, 0, True, bytes(8)), "bad_checksum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_dropped_is_counted(station: Station, packet: bytes, counter: str) -> None:
    assert station.send(packet) == []
    assert station.network.counters[counter] == 1
    assert len(station.network._reassembly) == 0


def test_a_fragment_header_that_is_cut_off(station: Station) -> None:
    whole = fragment6(GUEST6, GATEWAY6, 58, 0, True, b"")[:-1]
    assert station.send(whole[:30] + struct.pack(">H", 7) + whole[32:]) == []
    assert station.network.counters["ip_malformed"] == 1


def test_more_than_ip_can_say(station: Station) -> None:
    """The parts fit by themselves; the first has options, with which the whole does not."""
    station.send(fragment4(GUEST, GATEWAY, 1, 0, False, bytes(8), options=bytes(40)))
    for at in range(8, 65508, 1480):
        station.send(fragment4(GUEST, GATEWAY, 1, at, at + 1480 >= 65508, bytes(min(1480, 65508 - at))))
    assert station.network.counters["ip_fragment_malformed"] == 1
    assert len(station.network._reassembly) == 0


def test_a_source_that_is_another(station: Station) -> None:
    assert station.send(*cut4(b"\x08\x08\x08\x08", GATEWAY, 1, _echo())) == []
    assert station.network.counters["forged_source"] == 1


def test_neighbor_discovery_is_not_fragmented(station: Station) -> None:
    """RFC 6980; the same message whole is answered."""
    message = struct.pack(">BBHI", 135, 0, 0, 0) + GATEWAY6
    value = ones_sum(_pseudo6(GUEST6, GATEWAY6, len(message)) + message) ^ 0xFFFF
    message = message[:2] + struct.pack(">H", value) + message[4:]
    cut = fragment6(GUEST6, GATEWAY6, 58, 0, True, message)
    assert station.send(cut) == []
    whole = cut[:30] + struct.pack(">HBB", len(message), 58, 255) + cut[34:66] + message
    assert len(station.send(whole)) == 1


# -- bounds --


class _Table:
    """A `Reassembly` with a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.counters = fragments.Counter()
        self.table = fragments.Reassembly(self.counters, lambda: self.now)

    def add(self, packet: bytes, mac: bytes = MAC) -> bytes | None:
        fragment = ip.parse(packet)
        assert isinstance(fragment, ip.Fragment)
        return self.table.add(mac, fragment)


def test_so_many_at_a_time() -> None:
    table = _Table()
    for number in range(DATAGRAMS_MAX + 10):
        table.add(fragment4(GUEST, GATEWAY, 1, 0, False, bytes(8), number))
    assert len(table.table) == DATAGRAMS_MAX and table.counters["ip_fragments_evicted"] == 10
    assert table.table.used_bytes == 8 * DATAGRAMS_MAX
    assert table.add(fragment4(GUEST, GATEWAY, 1, 8, True, bytes(8), 9)) is None, "the oldest gave way"
    assert table.add(fragment4(GUEST, GATEWAY, 1, 8, True, bytes(8), 73)) is not None


def test_so_many_bytes() -> None:
    table = _Table()
    for number in range(60):
        for at in range(0, 64000, 1600):
            table.add(fragment4(GUEST, GATEWAY, 1, at, False, bytes(1600), number))
            assert table.table.used_bytes <= BYTES_MAX
    assert len(table.table) == BYTES_MAX // 64000 and table.counters["ip_fragments_evicted"] == 60 - 16


def test_so_many_pieces() -> None:
    table = _Table()
    for at in range(0, 16 * (FRAGMENTS_MAX + 1), 16):
        table.add(fragment4(GUEST, GATEWAY, 1, at, False, bytes(8)))
    assert table.counters["ip_fragments_overlap"] == 1 and table.table.used_bytes == 0


def test_so_long() -> None:
    table = _Table()
    table.add(fragment4(GUEST, GATEWAY, 1, 0, False, bytes(8)))
    table.now += SECONDS + 1
    assert table.add(fragment4(GUEST, GATEWAY, 1, 8, True, bytes(8))) is None
    assert table.counters["ip_fragments_timed_out"] == 1 and len(table.table) == 1
    table.now += SECONDS - 1
    assert table.add(fragment4(GUEST, GATEWAY, 1, 0, False, bytes(8))) is not None


def test_each_guest_has_its_own() -> None:
    table = _Table()
    table.add(fragment4(GUEST, GATEWAY, 1, 0, False, bytes(8)))
    assert table.add(fragment4(GUEST, GATEWAY, 1, 8, True, bytes(8)), b"\x52" + bytes(5)) is None
    assert len(table.table) == 2
