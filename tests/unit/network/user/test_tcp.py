"""TCP between a guest and this host: data both ways, losses, windows, and every way to end."""

from __future__ import annotations

import os
import socket
import struct
import time

import pytest
from fake_station import ACK, FIN, GATEWAY, GUEST, PSH, RST, SYN, Station, Tcp, ipv4, is_tcp, server, tcp_of

from ringfence.api.network import parse_forward
from ringfence.network.offload import HEADER, NEEDS_CSUM
from ringfence.network.user import tcp as tcp_module
from ringfence.network.user.tcp_connection import RECEIVE_WINDOW

#: A maximum segment size of 1000, and a window in units of 128.
OPTIONS = bytes([2, 4]) + struct.pack(">H", 1000) + bytes([1, 3, 3, 7])


@pytest.fixture
def pair(station: Station) -> tuple[Tcp, socket.socket]:
    """A guest's open connection, and the host's end of it."""
    listening, port = server()
    guest = Tcp(station, port)
    guest.open(OPTIONS)
    host, _ = listening.accept()
    listening.close()
    host.settimeout(10)
    return guest, host


def test_opening_says_what_we_take(station: Station) -> None:
    listening, port = server()
    guest = Tcp(station, port)
    answer = guest.open(OPTIONS)
    assert answer.window == 0xFFFF
    listening.close()


def test_data_there_and_back(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    (answer,) = guest.send(ACK | PSH, b"question")
    assert answer.acknowledgement == guest.next and answer.flags == ACK
    assert host.recv(100) == b"question"
    host.sendall(b"answer")
    (segment,) = guest.take(6)
    assert (segment.data, segment.sequence) == (b"answer", guest.expected - 6)


def test_a_megabyte_to_the_guest_is_cut_as_it_asked(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    data = os.urandom(1 << 18)
    host.sendall(data)
    segments = guest.take(len(data))
    assert guest.received == data
    assert max(len(segment.data) for segment in segments) == 1000


def test_a_batch_has_one_acknowledgement(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    packets = []
    for n in range(10):
        packets.append(guest.packet(ACK, bytes([n]) * 100))
        guest.next += 100
    acknowledged = [tcp_of(frame).acknowledgement for frame in guest.station.send(*packets)]
    assert acknowledged == [guest.next]
    assert host.recv(2000) == b"".join(bytes([n]) * 100 for n in range(10))


def test_a_gap_is_acknowledged_at_once_and_filled_later(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    first = guest.packet(ACK, b"first")
    behind = guest.packet(ACK, b"behind", sequence=guest.next + 5)
    answers = [tcp_of(frame) for frame in guest.station.send(behind, behind, behind)]
    assert [answer.acknowledgement for answer in answers][:3] == [guest.next] * 3
    answers = [tcp_of(frame) for frame in guest.station.send(first, behind)]
    assert answers[-1].acknowledgement == guest.next + 11
    assert host.recv(100) == b"firstbehind"


def test_what_is_sent_twice_arrives_once(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    whole = guest.packet(ACK, b"abcdef")
    guest.station.send(whole, whole)
    guest.station.send(guest.packet(ACK, b"defghi", sequence=guest.next + 3))
    assert host.recv(100) == b"abcdefghi"


def test_a_loss_to_the_guest_is_sent_again(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    host.sendall(b"lost")
    frames = guest.station.until(lambda got: any(map(is_tcp, got)))
    lost = [tcp_of(frame) for frame in frames]
    begin = time.monotonic()
    again = [tcp_of(frame) for frame in guest.station.until(lambda got: any(map(is_tcp, got)))]
    assert time.monotonic() - begin > 0.2
    assert again[0].data == lost[0].data == b"lost" and again[0].sequence == lost[0].sequence


def test_three_duplicates_bring_it_sooner(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    host.sendall(b"lost")
    guest.station.until(lambda got: any(map(is_tcp, got)))
    duplicate = guest.packet(ACK)
    got = [tcp_of(frame) for frame in guest.station.send(duplicate, duplicate, duplicate)]
    assert [segment.data for segment in got] == [b"lost"]


def test_a_closed_window_stops_the_host_and_opens_again(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    guest.window = 0
    guest.send(ACK)
    host.sendall(b"patience")
    for _ in range(3):
        assert [tcp_of(f).data for f in guest.station.step(0.05) if is_tcp(f)] in ([], [b""])
    guest.window = 100
    guest.take(0)
    guest.station.loop.call(lambda: guest.station.network.send([guest.packet(ACK)]))
    guest.take(8)
    assert guest.received == b"patience"


def test_a_guest_is_asked_again_when_its_window_stays_closed(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    guest.window = 0
    guest.send(ACK)
    host.sendall(b"patience")
    (probe, *_) = [tcp_of(f) for f in guest.station.until(lambda got: any(map(is_tcp, got)))]
    assert probe.sequence == guest.expected - 1 and probe.data == b""


def test_a_host_that_does_not_read_closes_the_window(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    chunk = bytes(8000)
    window = RECEIVE_WINDOW
    for _ in range(2000):
        for segment in guest.send(ACK, chunk):
            window = segment.window << 5
        if window < len(chunk):
            break
    else:
        pytest.fail("the window never closed")
    guest.send(ACK, chunk[:window])
    sent = guest.next - 1001
    assert guest.station.network.tcp.budget.used_bytes <= RECEIVE_WINDOW
    got = 0
    while got < sent:
        got += len(host.recv(1 << 20))
        guest.station.step(0)
    guest.station.step(0.05)
    assert guest.station.network.tcp.budget.used_bytes == 0


@pytest.mark.parametrize("first", ["guest", "host"])
def test_each_side_may_end_first(pair: tuple[Tcp, socket.socket], first: str) -> None:
    guest, host = pair
    table = guest.station.network.tcp
    if first == "guest":
        guest.send(FIN | ACK)
        assert host.recv(1) == b""
        host.sendall(b"last words")
        guest.take(10)
        host.close()
        frames = guest.station.until(lambda got: any(tcp_of(f).flags & FIN for f in got if is_tcp(f)))
    else:
        host.shutdown(socket.SHUT_WR)
        frames = guest.station.until(lambda got: any(map(is_tcp, got)))
        guest.send(ACK, b"last words")
        assert host.recv(100) == b"last words"
    fin = next(tcp_of(frame) for frame in frames if tcp_of(frame).flags & FIN)
    guest.expected = fin.sequence + 1
    guest.send(ACK if first == "guest" else FIN | ACK)
    assert len(table) == 0 and table.budget.used_bytes == 0
    host.close()


def test_a_reset_of_the_guest_reaches_the_host(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    guest.send(RST)
    with pytest.raises(ConnectionResetError):
        host.recv(1)
    assert len(guest.station.network.tcp) == 0


def test_a_reset_out_of_order_is_ignored(pair: tuple[Tcp, socket.socket]) -> None:
    guest, _ = pair
    guest.station.send(guest.packet(RST, sequence=guest.next + 1))
    assert len(guest.station.network.tcp) == 1


def test_a_reset_of_the_host_reaches_the_guest(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    host.close()
    frames = guest.station.until(lambda got: any(map(is_tcp, got)))
    assert tcp_of(frames[-1]).flags & RST
    assert len(guest.station.network.tcp) == 0


def test_a_port_that_nobody_has_is_refused(station: Station) -> None:
    listening, port = server()
    listening.close()
    guest = Tcp(station, port)
    answers = guest.send(SYN) or [tcp_of(f) for f in station.until(lambda got: any(map(is_tcp, got)))]
    assert answers[0].flags == RST | ACK and answers[0].acknowledgement == guest.next


def test_a_segment_of_no_connection_is_reset(station: Station) -> None:
    guest = Tcp(station, 80)
    (answer,) = guest.send(ACK, b"what?")
    assert answer.flags == RST and answer.sequence == guest.expected
    assert guest.send(RST) == []


def test_the_host_itself_is_refused_unless_allowed(make_station) -> None:
    station = make_station(allow=None)
    listening, port = server()
    (answer,) = Tcp(station, port).send(SYN)
    assert answer.flags & RST
    assert Tcp(station, port, to=b"\x7f\0\0\x01").send(SYN) == [], "an ICMP message says so"
    assert station.network.counters["denied"] == 2
    listening.close()


def test_connections_are_bounded(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_module, "CONNECTIONS_MAX", 2)
    listening, port = server()
    first, second = Tcp(station, port, 1001), Tcp(station, port, 1002)
    first.open()
    second.open()
    (answer,) = Tcp(station, port, 1003).send(SYN)
    assert answer.flags & RST
    first.send(FIN | ACK)
    second.send(ACK)
    Tcp(station, port, 1004).open()
    assert len(station.network.tcp) == 2, "one that was half closed gave way"
    listening.close()


def test_a_published_port_leads_to_the_guest(make_station) -> None:
    listening, port = server()
    listening.close()
    station = make_station(forwards=(parse_forward(f"{port}:80"),))
    outside = socket.create_connection(("127.0.0.1", port))
    outside.settimeout(10)
    (call,) = [tcp_of(frame) for frame in station.until(lambda got: any(map(is_tcp, got)))]
    assert (call.guest_port, call.flags) == (80, SYN)
    guest = Tcp(station, call.port, 80)
    guest.expected = call.sequence + 1
    (answer,) = guest.send(SYN | ACK, options=OPTIONS)
    assert answer.flags == ACK and answer.acknowledgement == guest.next
    (again,) = [tcp_of(each) for each in station.send(guest.packet(SYN | ACK, sequence=guest.next - 1))]
    assert again.flags == ACK and again.acknowledgement == guest.next, "its SYN is acknowledged once more"
    outside.sendall(b"GET /")
    guest.take(5)
    guest.send(ACK, b"200 OK")
    assert outside.recv(100) == b"200 OK"
    outside.close()


def test_a_guest_that_refuses_a_published_port(make_station) -> None:
    listening, port = server()
    listening.close()
    station = make_station(forwards=(parse_forward(f"{port}:80"),))
    outside = socket.create_connection(("127.0.0.1", port))
    outside.settimeout(10)
    (call,) = [tcp_of(frame) for frame in station.until(lambda got: any(map(is_tcp, got)))]
    guest = Tcp(station, call.port, 80)
    guest.next, guest.expected = 0, call.sequence + 1
    guest.send(RST | ACK)
    with pytest.raises(ConnectionResetError):
        outside.recv(1)


def test_a_guest_that_leaves_takes_its_connections_along(pair: tuple[Tcp, socket.socket]) -> None:
    guest, host = pair
    guest.station.network.remove(guest.station.client)
    with pytest.raises(ConnectionResetError):
        host.recv(1)
    assert len(guest.station.network.tcp) == 0


@pytest.mark.parametrize("size", [0, 4, 19])
def test_a_segment_that_is_cut_short(station: Station, size: int) -> None:
    packet = ipv4(GUEST, GATEWAY, 6, bytes(size))
    station.send(HEADER.pack(NEEDS_CSUM, 0, 0, 0, 34, 0, 0) + packet[HEADER.size :])
    assert station.network.counters["tcp_malformed"] == 1
