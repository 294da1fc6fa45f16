"""TCP segments (RFC 9293) on a guest's link: parsed, and built with their checksum left to who gets them."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ringfence.network.checksum import Buffer, fold
from ringfence.network.user import ip

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SEQUENCE_MASK = 0xFFFF_FFFF

#: What a frame of 1500 bytes has room for, by family.
MSS_V4, MSS_V6 = 1460, 1440
#: A guest that asks for less pays with its own time, but not with thousands of segments a packet.
MSS_MIN = 88
#: Ours: windows of up to 2 MiB.
WINDOW_SHIFT = 5

_HEADER = struct.Struct(">HHIIBBHHH")
_MSS_OPTION, _SHIFT_OPTION = 2, 3
_SYN_OPTIONS = struct.Struct(">BBHBBBB")


class Segment(NamedTuple):
    """One that was received. ``mss`` and ``shift`` are options; None where it has none."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    mss: int | None
    shift: int | None
    data: memoryview


def parse(payload: memoryview) -> Segment | None:
    if len(payload) < _HEADER.size:
        return None
    source, destination, sequence, acknowledgement, offset, flags, window, _, _ = _HEADER.unpack_from(payload)
    header_bytes = offset >> 4 << 2
    if not _HEADER.size <= header_bytes <= len(payload) or not source or not destination:
        return None
    mss = shift = None
    if flags & SYN:
        mss, shift = _options(payload[_HEADER.size : header_bytes])
    data = payload[header_bytes:]
    return Segment(source, destination, sequence, acknowledgement, flags, window, mss, shift, data)


def _options(options: memoryview) -> tuple[int | None, int | None]:
    """Maximum segment size and window shift, as far as the options are well-formed."""
    mss = shift = None
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if at + 2 > len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            break
        kind, size = options[at], options[at + 1]
        if (kind, size) == (_MSS_OPTION, 4):
            mss = options[at + 2] << 8 | options[at + 3]
        elif (kind, size) == (_SHIFT_OPTION, 3):
            shift = min(options[at + 2], 14)
        at += size
    return mss, shift


class Builder:
    """Makes the packets of one connection, from ``remote`` to the station ``mac`` with address ``guest``."""

    def __init__(self, mac: bytes, guest: bytes, guest_port: int, remote: bytes, remote_port: int) -> None:
        self._mac = mac
        self._guest = guest
        self._remote = remote
        self._ports = (remote_port, guest_port)
        self.is_v6 = len(guest) == 16
        self.mss = MSS_V6 if self.is_v6 else MSS_V4
        self._sum = ip.pseudo_sum(remote, guest, ip.TCP, 0)
        self._plain = ip.transport_header(self.is_v6, ip.TCP)

    def build(
        self,
        sequence: int,
        acknowledgement: int,
        flags: int,
        window: int,
        data: Buffer = b"",
        options: bytes = b"",
    ) -> bytes:
        """A packet; with more data than a segment has, one that is to be cut."""
        header_bytes = _HEADER.size + len(options)
        length = header_bytes + len(data)
        header = _HEADER.pack(
            *self._ports,
            sequence,
            acknowledgement,
            header_bytes << 2,
            flags,
            window,
            fold(self._sum + (length >> 16) + (length & 0xFFFF)),
            0,
        )
        is_long = len(data) > self.mss
        vnet = ip.transport_header(self.is_v6, ip.TCP, self.mss) if is_long else self._plain
        head = ip.headers(self._mac, self._remote, self._guest, ip.TCP, length)
        return b"".join((vnet, head, header, options, data))

    def syn_options(self, has_shift: bool) -> bytes:
        mss = MSS_V6 if self.is_v6 else MSS_V4
        whole = _SYN_OPTIONS.pack(_MSS_OPTION, 4, mss, 1, _SHIFT_OPTION, 3, WINDOW_SHIFT)
        return whole if has_shift else whole[:4]
