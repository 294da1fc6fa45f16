"""What a virtio-net header asks for, done in software; and headers that promise what is not there."""

from __future__ import annotations

import struct

import pytest
from fake_station import ACK, FIN, GATEWAY, GUEST, PSH, SYN, ipv4, ones_sum, summed, tcp_of
from hypothesis import given
from hypothesis import strategies as st

from ringfence.network.offload import (
    FRAME_BYTES_MAX,
    GSO_TCPV4,
    GSO_TCPV6,
    HEADER,
    HEADER_BYTES,
    NEEDS_CSUM,
    PLAIN,
    is_sound,
    plain,
)

DATA = bytes(range(256)) * 20


def _partial(source: bytes, destination: bytes, data: bytes, flags: int = ACK | PSH | FIN) -> bytes:
    """A TCP segment with the pseudo header's sum alone in its checksum."""
    head = struct.pack(">HHIIBBHHH", 80, 4000, 7, 9, 5 << 4, flags, 1000, 0, 0)
    length = len(head) + len(data)
    if len(source) == 4:
        pseudo = source + destination + struct.pack(">BBH", 0, 6, length)
    else:
        pseudo = source + destination + struct.pack(">II", length, 6)
    return head[:16] + struct.pack(">H", ones_sum(pseudo)) + head[18:] + data


def _v6(data: bytes, length: int | None = None) -> bytes:
    source, destination = bytes(15) + b"\x01", bytes(15) + b"\x02"
    segment = _partial(source, destination, data)
    head = struct.pack(">IHBB", 6 << 28, len(segment) if length is None else length, 6, 64)
    return bytes(12) + b"\x86\xdd" + head + source + destination + segment


def test_a_plain_frame_is_left_alone() -> None:
    assert plain(PLAIN + bytes(range(60))) == [bytes(range(60))]


def test_a_checksum_is_filled_in() -> None:
    frame = ipv4(GUEST, GATEWAY, 6, _partial(GUEST, GATEWAY, b"odd"))[HEADER_BYTES:]
    packet = HEADER.pack(NEEDS_CSUM, 0, 0, 0, 34, 16, 0) + frame
    assert is_sound(packet)
    (done,) = plain(packet)
    assert done[34:] == summed(GUEST, GATEWAY, 6, frame[34:50] + b"\0\0" + frame[52:], 16)


def test_a_long_segment_is_cut() -> None:
    frame = ipv4(GUEST, GATEWAY, 6, _partial(GUEST, GATEWAY, DATA))[HEADER_BYTES:]
    packet = HEADER.pack(NEEDS_CSUM, GSO_TCPV4, 54, 1000, 34, 16, 0) + frame
    assert is_sound(packet)
    segments = [tcp_of(each) for each in plain(packet)]
    assert b"".join(segment.data for segment in segments) == DATA
    assert [len(segment.data) for segment in segments] == [1000] * 5 + [120]
    assert [segment.sequence for segment in segments] == [7 + 1000 * n for n in range(6)]
    assert [segment.flags for segment in segments] == [ACK] * 5 + [ACK | PSH | FIN]
    identifications = [struct.unpack_from(">H", each, 18)[0] for each in plain(packet)]
    assert identifications == list(range(1, 7))


def test_a_long_segment_of_ipv6_is_cut() -> None:
    packet = HEADER.pack(NEEDS_CSUM, GSO_TCPV6, 74, 1440, 54, 16, 0) + _v6(DATA)
    assert is_sound(packet)
    frames = plain(packet)
    assert b"".join(frame[74:] for frame in frames) == DATA
    for frame in frames:
        (length,) = struct.unpack_from(">H", frame, 18)
        assert length == len(frame) - 54
        pseudo = frame[22:54] + struct.pack(">II", length, 6)
        assert ones_sum(pseudo + frame[54:]) == 0xFFFF


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ((2, 0, 0, 0, 34, 16, 0), "a flag that vouches for a checksum"),
        ((NEEDS_CSUM, 0, 0, 0, 34, 60000, 0), "a checksum behind the frame"),
        ((0, GSO_TCPV4, 54, 1000, 34, 16, 0), "cut, and not summed"),
        ((NEEDS_CSUM, GSO_TCPV4, 54, 0, 34, 16, 0), "cut into nothing"),
        ((NEEDS_CSUM, GSO_TCPV4, 54, 60, 34, 16, 0), "cut into too many"),
        ((NEEDS_CSUM, GSO_TCPV4, 54, 1000, 30, 16, 0), "TCP inside the IP header"),
        ((NEEDS_CSUM, GSO_TCPV6, 54, 1000, 54, 16, 0), "the other family"),
        ((NEEDS_CSUM, GSO_TCPV4 | 0x80, 54, 1000, 34, 16, 0), "congestion bits, not offered"),
        ((NEEDS_CSUM, 3, 54, 1000, 34, 6, 0), "UDP, not offered"),
        ((NEEDS_CSUM, GSO_TCPV4, 54, 1000, 34, 6, 0), "another field for the sum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_that_are_not_true(header: tuple[int, ...], why: str) -> None:
    frame = ipv4(GUEST, GATEWAY, 6, _partial(GUEST, GATEWAY, DATA, SYN))[HEADER_BYTES:]
    assert not is_sound(HEADER.pack(*header) + frame), why


@pytest.mark.parametrize("size", [0, 13, FRAME_BYTES_MAX + 1])
def test_frames_of_no_size(size: int) -> None:
    assert not is_sound(PLAIN + bytes(size))
    assert is_sound(PLAIN + bytes(14)) and is_sound(PLAIN + bytes(FRAME_BYTES_MAX))


@given(
    st.builds(HEADER.pack, *[st.integers(0, 5)] * 2, *[st.integers(0, 120)] * 4, st.just(0)),
    st.binary(max_size=150),
    st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\0\0"]),
)
def test_what_is_sound_can_be_finished(header: bytes, frame: bytes, ethertype: bytes) -> None:
    packet = header + frame[:12] + ethertype + frame[12:]
    if is_sound(packet):
        frames = plain(packet)
        assert 1 <= len(frames) <= 4
        assert all(len(each) <= FRAME_BYTES_MAX for each in frames)
