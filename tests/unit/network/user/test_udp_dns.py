"""UDP flows and the DNS forwarder, against sockets of this host."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from fake_station import DNS, GATEWAY, GUEST, Station, dns_query, udp, udp_of

from ringfence.api.network import parse_forward
from ringfence.errors import UserError
from ringfence.network.user import udp as udp_module
from ringfence.network.user.names import parse_answer, parse_query

LOOPBACK = b"\x7f\0\0\x01"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(10)
        yield bound


def _port(bound: socket.socket) -> int:
    return bound.getsockname()[1]


def test_there_and_back(station: Station, server: socket.socket) -> None:
    station.send(udp(5000, GATEWAY, _port(server), b"question"))
    data, peer = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", peer)
    (frame,) = station.until(bool)
    assert udp_of(frame) == (GATEWAY, _port(server), GUEST, 5000, b"answer")


def test_only_the_peer_may_answer(station: Station, server: socket.socket) -> None:
    station.send(udp(5000, GATEWAY, _port(server), b"question"))
    _, peer = server.recvfrom(100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"forged", peer)
    server.sendto(b"answer", peer)
    (frame,) = station.until(bool)
    assert udp_of(frame)[4] == b"answer"


def test_a_port_that_nobody_has(station: Station, server: socket.socket) -> None:
    port = _port(server)
    server.close()
    packet = udp(5000, GATEWAY, port, b"question")
    station.send(packet)
    (frame,) = station.until(bool)
    assert frame[34:36] == bytes([3, 3]) and frame[42:70] == packet[26:54]


def test_the_host_itself_is_not_reached_unless_allowed(make_station, server: socket.socket) -> None:
    station = make_station(allow=None)
    (frame,) = station.send(udp(5000, GATEWAY, _port(server), b"question"))
    assert frame[34:36] == bytes([3, 13])
    station.send(udp(5000, LOOPBACK, _port(server), b"question"))
    assert station.network.counters["denied"] == 2
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(1)


def test_flows_are_bounded(station: Station, server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "FLOWS_MAX", 4)
    for port in range(5000, 5010):
        station.send(udp(port, GATEWAY, _port(server), b"x"))
    assert len(station.network.udp._flows) == 4


def test_a_datagram_longer_than_ip_can_say_is_counted(station: Station) -> None:
    """A published port of IPv6 takes longer ones than go on to the guest."""
    key = (GUEST, 53, GATEWAY, 61000)
    station.network.udp.send_to_guest(station.client, key, bytes(65508))
    assert station.step() == [] and station.network.counters["udp_too_long"] == 1


def test_a_published_port_leads_both_ways(make_station) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = _port(free)
    station = make_station(forwards=(parse_forward(f"{port}:53/udp"),))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.settimeout(10)
        outside.sendto(b"question", ("127.0.0.1", port))
        (frame,) = station.until(bool)
        source, source_port, destination, guest_port, data = udp_of(frame)
        assert (source, destination, guest_port, data) == (GATEWAY, GUEST, 53, b"question")
        station.send(udp(53, GATEWAY, source_port, b"answer"))
        assert outside.recv(100) == b"answer"


def test_a_port_that_is_taken_is_a_line(make_station, server: socket.socket) -> None:
    with pytest.raises(UserError, match="can't publish 127"):
        make_station(forwards=(parse_forward(f"{_port(server)}:53/udp"),))


# -- names --


def _answer(query: bytes, *addresses: bytes, ttl: int = 60) -> bytes:
    records = b"".join(
        b"\xc0\x0c" + struct.pack(">HHIH", 1 if len(each) == 4 else 28, 1, ttl, len(each)) + each
        for each in addresses
    )
    return query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0) + query[12:] + records


def _ask(station: Station, query: bytes) -> list[bytes]:
    return station.send(udp(6000, DNS, 53, query))


def _code(frame: bytes) -> int:
    return udp_of(frame)[4][3] & 15


@pytest.fixture
def resolving(make_station, server: socket.socket) -> Station:
    allow = ("*.debian.org", "127.0.0.1/32")
    return make_station(name_servers=[(LOOPBACK, _port(server))], allow=allow)


def test_a_question_is_passed_on_and_opens_what_it_finds(resolving: Station, server: socket.socket) -> None:
    assert not resolving.client.policy.allows(b"\x05\x06\x07\x08")
    _ask(resolving, dns_query("deb.debian.org"))
    asked, peer = server.recvfrom(512)
    assert asked[2:] == dns_query("deb.debian.org")[2:]
    server.sendto(_answer(asked, b"\x05\x06\x07\x08"), peer)
    (frame,) = resolving.until(bool)
    assert udp_of(frame) == (DNS, 53, GUEST, 6000, _answer(dns_query("deb.debian.org"), b"\x05\x06\x07\x08"))
    assert resolving.client.policy.allows(b"\x05\x06\x07\x08")


def test_numbers_are_not_the_guests(resolving: Station, server: socket.socket) -> None:
    numbers = set()
    for _ in range(5):
        _ask(resolving, dns_query("deb.debian.org"))
        numbers.add(server.recv(512)[:2])
    assert numbers != {b"\x42\x42"} and len(numbers) > 1


def test_an_answer_to_another_question_is_not_believed(resolving: Station, server: socket.socket) -> None:
    _ask(resolving, dns_query("deb.debian.org"))
    asked, peer = server.recvfrom(512)
    server.sendto(_answer(asked[:2] + dns_query("evil.debian.org")[2:], b"\x06\x06\x06\x06"), peer)
    server.sendto(b"\0\0" + _answer(asked, b"\x06\x06\x06\x06")[2:], peer)
    resolving.until(lambda _: resolving.network.counters["dns_forged"] == 2)
    assert not resolving.client.policy.allows(b"\x06\x06\x06\x06")
    server.sendto(_answer(asked, b"\x07\x07\x07\x07"), peer)
    resolving.until(bool)
    assert resolving.client.policy.allows(b"\x07\x07\x07\x07")


def test_a_name_that_is_not_allowed_is_not_asked_for(resolving: Station, server: socket.socket) -> None:
    (frame,) = _ask(resolving, dns_query("secret-data.evil.com"))
    assert _code(frame) == 5
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(1)


def test_own_names(resolving: Station) -> None:
    resolving.network.add(b"\x52" + bytes(5), "other")
    for name, address in (("guest", GUEST), ("other.internal", b"\x0a\0\x02\x10"), ("GATEWAY", GATEWAY)):
        (frame,) = _ask(resolving, dns_query(name))
        assert udp_of(frame)[4].endswith(address), name
    (frame,) = _ask(resolving, dns_query("guest", 28))
    assert _code(frame) == 0 and udp_of(frame)[4][6:8] == b"\0\0", "no IPv6 address yet"
    (frame,) = _ask(resolving, dns_query("nobody.internal"))
    assert _code(frame) == 3


def test_a_guest_with_a_name_server_of_its_own(make_station, server: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hosts_own:
        hosts_own.bind(("127.0.0.1", 0))
        hosts_own.setblocking(False)
        station = make_station(name_servers=[(LOOPBACK, _port(hosts_own))])
        station.client.name_servers = [(LOOPBACK, _port(server))]
        for _ in range(3):
            _ask(station, dns_query("example.org"))
            assert server.recv(512)[2:] == dns_query("example.org")[2:]
        with pytest.raises(BlockingIOError):
            hosts_own.recv(1)


def test_no_name_server(make_station) -> None:
    station = make_station()
    (frame,) = _ask(station, dns_query("example.org"))
    assert _code(frame) == 2


@pytest.mark.parametrize(
    "query",
    [
        b"",
        dns_query("a.b")[:-1],
        struct.pack(">HHHHHH", 1, 0x8100, 1, 0, 0, 0) + b"\1a\0\0\1\0\1",
        struct.pack(">HHHHHH", 1, 0x0100, 2, 0, 0, 0) + b"\1a\0\0\1\0\1",
        struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
        struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x0adebian.org\0\0\1\0\1",
        struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\1a" * 200 + b"\0\0\1\0\1",
    ],
)
def test_queries_that_are_none(resolving: Station, query: bytes) -> None:
    assert _ask(resolving, query) == []
    assert resolving.network.counters["dns_malformed"] == 1


def test_an_answer_with_compression_that_loops() -> None:
    question = parse_query(dns_query("a.b"))
    assert question is not None
    loop = _answer(dns_query("a.b"))[:6] + b"\0\5" + _answer(dns_query("a.b"))[8:] + b"\xc0\x0c" * 3
    assert parse_answer(loop, question) == []
