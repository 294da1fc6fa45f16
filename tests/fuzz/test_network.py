"""A guest as attacker of the network: any frame, any segment, any message. Nothing fails, nothing grows."""

from __future__ import annotations

import itertools
import struct
from contextlib import suppress

from fake_fragments import GATEWAY6, GUEST6, fragment4, fragment6, join
from fake_station import (
    ACK,
    DNS,
    EVERYBODY,
    FIN,
    GATEWAY,
    GATEWAY_MAC,
    GUEST,
    MAC,
    NOBODY,
    PSH,
    RST,
    SYN,
    Station,
    Tcp,
    dns_query,
    ipv4,
    server,
    summed,
    udp,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.network.offload import HEADER, HEADER_BYTES, PLAIN, is_sound
from ringfence.network.user.fragments import BYTES_MAX, DATAGRAMS_MAX
from ringfence.network.user.names import parse_answer, parse_query

SHORT = st.binary(max_size=80)
ADDRESSES = st.sampled_from([GUEST, GATEWAY, DNS, EVERYBODY, NOBODY, b"\x7f\0\0\x01"]) | st.binary(
    min_size=4, max_size=4
)
PORTS = st.sampled_from([0, 53, 67, 68, 65535])


def _v6(source: bytes, destination: bytes, protocol: int, hop: int, payload: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, hop)
    return PLAIN + GATEWAY_MAC + MAC + b"\x86\xdd" + head + source + destination + payload


def _unsummed(packet: bytes) -> bytes:
    """As it comes from a driver with checksum offload: nobody looks at the sum."""
    return HEADER.pack(1, 0, 0, 0, 14, 0, 0) + packet[HEADER_BYTES:]


ANY_FRAME = st.one_of(
    st.builds(
        lambda kind, rest: PLAIN + GATEWAY_MAC + MAC + kind + rest, st.binary(min_size=2, max_size=2), SHORT
    ),
    st.builds(
        lambda kind, rest: PLAIN + GATEWAY_MAC + MAC + kind + rest,
        st.sampled_from([b"\x08\0", b"\x08\6", b"\x86\xdd"]),
        SHORT,
    ),
    st.builds(ipv4, ADDRESSES, ADDRESSES, st.sampled_from([1, 6, 17, 58, 0]), SHORT),
    st.builds(ipv4, ADDRESSES, ADDRESSES, st.sampled_from([1, 6, 17]), SHORT).map(_unsummed),
    st.builds(
        _v6,
        *[st.binary(min_size=16, max_size=16) | st.just(bytes.fromhex("fe80") + bytes(14))] * 2,
        st.sampled_from([0, 6, 17, 58]),
        st.sampled_from([64, 255]),
        SHORT,
    ).map(_unsummed),
    st.builds(udp, PORTS, ADDRESSES, PORTS, st.binary(max_size=400), st.sampled_from([GUEST, NOBODY])),
)


@settings(max_examples=300)
@given(st.lists(ANY_FRAME, max_size=12))
def test_any_frames(packets: list[bytes]) -> None:
    station = Station(allow=("127.0.0.1/32",))
    try:
        station.send(*filter(is_sound, packets))
        assert len(station.client.ip6) <= 8
    finally:
        station.close()


SEGMENTS = st.lists(
    st.tuples(
        st.sampled_from([ACK, ACK | PSH, FIN | ACK, SYN, SYN | ACK, RST, 0, 0xFF]),
        st.sampled_from([0, 1, -1, 5, 1 << 20, 1 << 31]),
        st.sampled_from([0, 1, -1, 1000, 1 << 31]),
        st.sampled_from([0, 1, 100, 65535]),
        SHORT,
        st.sampled_from([b"", b"from the host" * 100]),
    ),
    max_size=12,
)


@settings(max_examples=200)
@given(SEGMENTS, st.binary(max_size=20).map(lambda options: options[: len(options) & ~3]))
def test_any_segments_of_a_connection(
    segments: list[tuple[int, int, int, int, bytes, bytes]], options: bytes
) -> None:
    station = Station()
    listening, port = server()
    try:
        guest = Tcp(station, port)
        answer = guest.open(options)
        host, _ = listening.accept()
        host.setblocking(False)
        for flags, ahead, acknowledged, guest.window, data, said in segments:
            guest.expected = (answer.sequence + 1 + acknowledged) & 0xFFFF_FFFF
            packet = guest.packet(flags, data, sequence=(guest.next + ahead) & 0xFFFF_FFFF)
            with suppress(OSError):
                host.send(said)
            station.send(packet)
            station.step()
        host.close()
    finally:
        listening.close()
        station.close()
        assert station.network.tcp.budget.used_bytes == 0
        assert len(station.network.tcp) == 0


def _fragment(is_v6: bool, protocol: int, at: int, is_last: bool, size: int, number: int, fill: int) -> bytes:
    data = bytes([fill]) * size
    if is_v6:
        return fragment6(GUEST6, GATEWAY6, protocol, at * 8, is_last, data, number)
    return fragment4(GUEST, GATEWAY, protocol, at * 8, is_last, data, number)


ANY_FRAGMENT = st.builds(
    _fragment,
    st.booleans(),
    st.sampled_from([1, 6, 17, 44, 58, 0]),
    st.integers(0, 4) | st.integers(0, 0x1FFF),
    st.booleans(),
    st.sampled_from([8, 16, 1480]) | st.integers(0, 1480),
    st.integers(0, 3) | st.integers(0, 0xFFFF),
    st.integers(0, 1),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_FRAGMENT, max_size=100))
def test_any_fragments(packets: list[bytes]) -> None:
    station = Station()
    try:
        station.send(*packets)
        table = station.network._reassembly
        assert len(table) <= DATAGRAMS_MAX
        assert 0 <= table.used_bytes == sum(each.size for each in table._partials.values()) <= BYTES_MAX
    finally:
        station.close()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_datagram_is_the_same_however_it_is_cut(data: st.DataObject) -> None:
    message = data.draw(st.binary(min_size=16, max_size=400)) * 8
    echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1) + message
    ends = sorted(data.draw(st.sets(st.integers(1, (len(echo) - 1) // 8), min_size=1, max_size=20)))
    bounds = [0, *[8 * end for end in ends], len(echo)]
    pairs = list(itertools.pairwise(bounds))
    packets = [fragment4(GUEST, GATEWAY, 1, at, end == len(echo), echo[at:end]) for at, end in pairs]
    packets.append(data.draw(st.sampled_from(packets)))  # one comes twice
    station = Station()
    try:
        frames = station.send(*data.draw(st.permutations(packets)))
        payload = frames[0][34:] if len(frames) == 1 else join(frames)[3]
        assert payload[4:] == echo[4:]
    finally:
        station.close()


@given(SHORT, SHORT, st.integers(0, 20), st.binary(max_size=2))
def test_any_names(message: bytes, answer: bytes, at: int, damage: bytes) -> None:
    question = parse_query(dns_query("a.example.org"))
    assert question is not None
    parse_query(message)
    whole = dns_query("a.example.org")
    whole = whole[:2] + struct.pack(">HHHHH", 0x8180, 1, 9, 9, 9) + whole[12:] + answer
    whole = whole[:at] + damage + whole[at + len(damage) :]
    for address, ttl in parse_answer(whole, question) or ():
        assert len(address) in (4, 16) and ttl >= 0


def test_the_attacker_can_be_heard() -> None:
    """What is built here gets through where it is right, or the above would prove nothing."""
    station = Station()
    assert station.send(udp(68, DNS, 53, dns_query("guest"))) != []
    echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
    assert station.send(_unsummed(ipv4(GUEST, GATEWAY, 1, echo))) != []
    assert summed(GUEST, GATEWAY, 17, bytes(8), 6) != bytes(8)
    station.close()
