"""The virtio-net header, and what it asks for done in software: checksums, and segmentation of TCP.

VIRTIO 1.2, section 5.1.6. All fields come from a guest, so `is_sound` is asked first, once, where a
packet enters: what passes can be finished without looking for the end of anything again.
"""

from __future__ import annotations

import struct

from ringfence.network.checksum import checksum, pseudo_sum, word_sum

#: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
HEADER = struct.Struct("<BBHHHHH")
HEADER_BYTES = HEADER.size
#: A frame that needs nothing.
PLAIN = bytes(HEADER_BYTES)

NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6 = 0, 1, 4

FRAME_BYTES_MIN = 14
#: An Ethernet header, a VLAN tag and the most that IP can say, to be cut or not: there are links in memory
#: that take it at once.
FRAME_BYTES_MAX = 18 + 65535
#: Smaller segments would make thousands of frames of one.
GSO_SIZE_MIN = 64

_TCP, _CHECKSUM_OF_TCP = 6, 16
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_FIN_PSH = 0x09
_CWR = 0x80


def is_sound(packet: bytes) -> bool:
    """Whether the header's promises are true of the frame behind it."""
    size = len(packet) - HEADER_BYTES
    if not FRAME_BYTES_MIN <= size <= FRAME_BYTES_MAX:
        return False
    flags, gso_type, _, gso_size, start, offset, _ = HEADER.unpack_from(packet)
    if flags & ~NEEDS_CSUM or (flags and start + offset + 2 > size):
        return False
    if gso_type == GSO_NONE:
        return True
    if gso_type not in (GSO_TCPV4, GSO_TCPV6) or not flags & NEEDS_CSUM or gso_size < GSO_SIZE_MIN:
        return False
    return _headers(packet) is not None


def plain(packet: bytes) -> list[bytes]:
    """The frames of a sound packet, each with its checksum and short enough for the wire, without headers."""
    flags, gso_type, _, gso_size, start, offset, _ = HEADER.unpack_from(packet)
    if gso_type != GSO_NONE:
        return _segments(packet, gso_size)
    if not flags & NEEDS_CSUM:
        return [packet[HEADER_BYTES:]]
    frame = bytearray(memoryview(packet)[HEADER_BYTES:])
    # the field holds the pseudo header's sum
    value = checksum(memoryview(frame)[start:]) or 0xFFFF
    struct.pack_into(">H", frame, start + offset, value)
    return [bytes(frame)]


def _headers(packet: bytes) -> tuple[int, int, int] | None:
    """Offsets in the frame of IP, TCP and the payload, if it is TCP of the family that gso_type says."""
    _, gso_type, _, _, start, offset, _ = HEADER.unpack_from(packet)
    frame = memoryview(packet)[HEADER_BYTES:]
    ethertype = frame[12:14]
    if offset != _CHECKSUM_OF_TCP or len(frame) < start + 20:
        return None
    if gso_type == GSO_TCPV4:
        if ethertype != _IPV4 or len(frame) < 34 or frame[23] != _TCP or start != 14 + 4 * (frame[14] & 15):
            return None
        if start < 34:
            return None
    elif ethertype != _IPV6 or len(frame) < 54 or frame[20] != _TCP or start != 54:
        return None
    payload = start + 4 * (frame[start + 12] >> 4)
    return (14, start, payload) if start + 20 <= payload <= len(frame) else None


def _segments(packet: bytes, size: int) -> list[bytes]:
    found = _headers(packet)
    assert found is not None, "is_sound was not asked"
    ip, tcp, payload = found
    frame = memoryview(packet)[HEADER_BYTES:]
    is_v4 = frame[14] >> 4 == 4
    addresses = (frame[26:30], frame[30:34]) if is_v4 else (frame[22:38], frame[38:54])
    source, destination = map(bytes, addresses)
    (sequence,) = struct.unpack_from(">I", frame, tcp + 4)
    (identification,) = struct.unpack_from(">H", frame, ip + 4)
    flags = frame[tcp + 13]
    frames = []
    # a segment without payload is one as well
    for at in range(payload, max(len(frame), payload + 1), size):
        data = frame[at : at + size]
        headers = bytearray(frame[:payload])
        length = payload - tcp + len(data)
        if is_v4:
            struct.pack_into(">HH", headers, ip + 2, tcp - ip + length, identification)
            struct.pack_into(">H", headers, ip + 10, 0)
            struct.pack_into(">H", headers, ip + 10, checksum(headers[ip:tcp]))
            identification = (identification + 1) & 0xFFFF
        else:
            struct.pack_into(">H", headers, ip + 4, length)
        struct.pack_into(">I", headers, tcp + 4, (sequence + at - payload) & 0xFFFF_FFFF)
        is_last = at + size >= len(frame)
        headers[tcp + 13] = flags & ~(0 if is_last else _FIN_PSH) & ~(0 if at == payload else _CWR)
        struct.pack_into(">H", headers, tcp + 16, 0)
        start = pseudo_sum(source, destination, _TCP, length) + word_sum(headers[tcp:])
        struct.pack_into(">H", headers, tcp + 16, checksum(data, start))
        frames.append(bytes(headers) + data)
    return frames
