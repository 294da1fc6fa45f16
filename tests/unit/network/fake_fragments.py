"""A guest's side of fragmentation, built from the RFCs and not with the code under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fake_station import GATEWAY_MAC, MAC, ones_sum

from ringfence.network.offload import PLAIN

GUEST6 = bytes.fromhex("fd52524672660000") + bytes(7) + b"\x77"
GATEWAY6 = bytes.fromhex("fd52524672660000") + bytes(7) + b"\x02"


def fragment4(
    source: bytes,
    destination: bytes,
    protocol: int,
    at: int,
    is_last: bool,
    data: bytes,
    number: int = 7,
    options: bytes = b"",
) -> bytes:
    """A packet with the part of a datagram that begins at byte ``at``."""
    words = 5 + len(options) // 4
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | words, 0, 4 * words + len(data), number, at >> 3 | (0 if is_last else 0x2000),
        64, protocol, 0, source, destination,
    ) + options  # fmt: skip
    head = head[:10] + struct.pack(">H", ones_sum(head) ^ 0xFFFF) + head[12:]
    return PLAIN + GATEWAY_MAC + MAC + b"\x08\x00" + head + data


def fragment6(
    source: bytes, destination: bytes, protocol: int, at: int, is_last: bool, data: bytes, number: int = 7
) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, 8 + len(data), 44, 255) + source + destination
    extension = struct.pack(">BBHI", protocol, 0, at | (not is_last), number)
    return PLAIN + GATEWAY_MAC + MAC + b"\x86\xdd" + head + extension + data


def cut4(
    source: bytes, destination: bytes, protocol: int, data: bytes, size: int = 1480, number: int = 7
) -> list[bytes]:
    return [
        fragment4(source, destination, protocol, at, at + size >= len(data), data[at : at + size], number)
        for at in range(0, len(data), size)
    ]


def cut6(source: bytes, destination: bytes, protocol: int, data: bytes, size: int = 1448) -> list[bytes]:
    return [
        fragment6(source, destination, protocol, at, at + size >= len(data), data[at : at + size])
        for at in range(0, len(data), size)
    ]


def join(frames: Sequence[bytes]) -> tuple[bytes, bytes, int, bytes]:
    """Source, destination, protocol and payload of the one datagram whose fragments these are."""
    parts: dict[int, bytes] = {}
    wholes = set()
    end = None
    for frame in frames:
        assert len(frame) <= 1514
        if frame[12:14] == b"\x08\x00":
            assert frame[14] == 0x45 and ones_sum(frame[14:34]) == 0xFFFF
            length, number, field = struct.unpack_from(">HHH", frame, 16)
            assert length == len(frame) - 14 and not field & 0xC000
            at, is_last, data = (field & 0x1FFF) << 3, not field & 0x2000, frame[34:]
            wholes.add((frame[26:30], frame[30:34], frame[23], number))
        else:
            assert frame[12:14] == b"\x86\xdd" and frame[20] == 44
            assert struct.unpack_from(">H", frame, 18)[0] == len(frame) - 54
            protocol, _, field, number = struct.unpack_from(">BBHI", frame, 54)
            at, is_last, data = field & 0xFFF8, not field & 1, frame[62:]
            wholes.add((frame[22:38], frame[38:54], protocol, number))
        assert at not in parts and (is_last or len(data) % 8 == 0)
        parts[at] = data
        if is_last:
            end = at + len(data)
    payload = b"".join(parts[at] for at in sorted(parts))
    assert all(at == sum(len(parts[each]) for each in parts if each < at) for at in parts)
    assert len(payload) == end
    ((source, destination, protocol, _),) = wholes
    return source, destination, protocol, payload
