"""Fragments of Internet datagrams: RFC 791 and RFC 815 for IPv4, RFC 8200 section 4.5 for IPv6.

A guest's are put together again before anybody looks at them. A datagram whose fragments overlap is given up
with all that still comes of it (RFC 5722), in both families: no honest sender makes one. What a guest has
begun and not finished is held for so long and so many bytes, and the oldest gives way.
"""

from __future__ import annotations

import struct
import time
from bisect import bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from ringfence.network import offload
from ringfence.network.checksum import checksum
from ringfence.network.user import ip
from ringfence.network.user.ip import Fragment

#: Datagrams that are not whole yet, the bytes of all of them, and how long one may take.
DATAGRAMS_MAX = 64
BYTES_MAX = 1 << 20
SECONDS = 30.0
#: One of 65,535 bytes takes 45 on this link, 119 on the narrowest that IPv4 hosts have to expect.
FRAGMENTS_MAX = 256
_LENGTH_MAX = 0xFFFF
_IP = offload.HEADER_BYTES + ip.ETHERNET_BYTES
_V6_HEADER = struct.Struct(">BBHI")
#: What a fragment to a guest carries: whole units of 8 bytes.
_ROOM_V4 = (ip.MTU - 20) & ~7
_ROOM_V6 = (ip.MTU - 40 - _V6_HEADER.size) & ~7
_MORE_V4, _MORE_V6 = 0x2000, 1


class _Key(NamedTuple):
    """Which datagram a fragment is of. On a switch two guests may send from one address."""

    mac: bytes
    source: bytes
    destination: bytes
    protocol: int
    identification: int


class _Partial:
    """A datagram of which some has come."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.size = 0
        #: gave up, and takes no more
        self.is_spoiled = False
        self._head = b""
        self._pieces: dict[int, bytes] = {}
        self._offsets: list[int] = []
        self._end = _LENGTH_MAX
        self._has_last = False

    def add(self, fragment: Fragment) -> bool:
        """Take a fragment, or one that came twice; False if it contradicts the others."""
        start, end = fragment.offset, fragment.offset + len(fragment.payload)
        if self._pieces.get(start) == fragment.payload:
            return True
        if len(self._offsets) >= FRAGMENTS_MAX or not self._is_free(start, end):
            return False
        if fragment.is_last:
            if self._has_last or (self._offsets and self._offsets[-1] > start):
                return False
            self._end, self._has_last = end, True
        if start == 0:
            self._head = fragment.head
        insort(self._offsets, start)
        self._pieces[start] = bytes(fragment.payload)
        self.size += end - start
        return True

    def spoil(self) -> None:
        self.is_spoiled = True
        self.size = 0
        self._pieces.clear()
        self._offsets.clear()

    @property
    def is_whole(self) -> bool:
        """Nothing overlaps and nothing is behind the end, so only the sum has to be right."""
        return self._has_last and self.size == self._end

    def join(self) -> bytes | None:
        return _whole(self._head, b"".join(self._pieces[offset] for offset in self._offsets))

    def _is_free(self, start: int, end: int) -> bool:
        at = bisect_right(self._offsets, start)
        if at and self._offsets[at - 1] + len(self._pieces[self._offsets[at - 1]]) > start:
            return False
        return end <= (self._offsets[at] if at < len(self._offsets) else self._end)


class Reassembly:
    """The datagrams of a network's guests that are not whole yet."""

    def __init__(self, counters: Counter[str], seconds: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._seconds = seconds
        self._partials: OrderedDict[_Key, _Partial] = OrderedDict()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._partials)

    def add(self, mac: bytes, fragment: Fragment) -> bytes | None:
        """The packet that a guest would have sent, where this was the last fragment to come."""
        size = len(fragment.payload)
        is_cut_right = size and (fragment.is_last or size % 8 == 0)
        if not is_cut_right or fragment.offset + size > _LENGTH_MAX:
            self._counters["ip_fragment_malformed"] += 1
            return None
        if fragment.is_last and fragment.offset == 0:  # has nothing to do with others (RFC 6946)
            return _whole(fragment.head, bytes(fragment.payload))
        return self._collect(_Key(mac, *fragment[:4]), fragment)

    def _collect(self, key: _Key, fragment: Fragment) -> bytes | None:
        self._expire()
        partial = self._partials.get(key)
        if partial is None:
            if len(self._partials) >= DATAGRAMS_MAX:
                self._forget_oldest("ip_fragments_evicted")
            partial = self._partials[key] = _Partial(self._seconds())
        if partial.is_spoiled:
            return None
        self.used_bytes -= partial.size
        if not partial.add(fragment):
            self._counters["ip_fragments_overlap"] += 1
            partial.spoil()
        if partial.is_whole:
            del self._partials[key]
            whole = partial.join()
            if whole is None:
                self._counters["ip_fragment_malformed"] += 1
            return whole
        self.used_bytes += partial.size
        while self.used_bytes > BYTES_MAX:
            self._forget_oldest("ip_fragments_evicted")
        return None

    def _expire(self) -> None:
        limit = self._seconds() - SECONDS
        while self._partials and next(iter(self._partials.values())).begun < limit:
            self._forget_oldest("ip_fragments_timed_out")

    def _forget_oldest(self, why: str) -> None:
        _, partial = self._partials.popitem(last=False)
        self.used_bytes -= partial.size
        self._counters[why] += 1


def cut(
    mac: bytes, source: bytes, destination: bytes, protocol: int, payload: bytes, identification: int
) -> list[bytes]:
    """Packets for a datagram that is longer than the link takes; ``payload`` has its checksum."""
    is_v6 = len(source) == 16
    room = _ROOM_V6 if is_v6 else _ROOM_V4
    packets = []
    for at in range(0, len(payload), room):
        piece = payload[at : at + room]
        is_last = at + room >= len(payload)
        if is_v6:
            field = at | (0 if is_last else _MORE_V6)
            piece = _V6_HEADER.pack(protocol, 0, field, identification & 0xFFFF_FFFF) + piece
            head = ip.headers(mac, source, destination, ip.FRAGMENT, len(piece))
        else:
            field = at >> 3 | (0 if is_last else _MORE_V4)
            head = ip.headers(mac, source, destination, protocol, len(piece), identification & 0xFFFF, field)
        packets.append(offload.PLAIN + head + piece)
    return packets


def _whole(head: bytes, payload: bytes) -> bytes | None:
    """The packet of a datagram; None where it is longer than IP can say."""
    whole = bytearray(head)
    whole[: offload.HEADER_BYTES] = offload.PLAIN
    if whole[_IP] >> 4 == 6:
        struct.pack_into(">H", whole, _IP + 4, len(payload))
        return bytes(whole) + payload
    length = len(head) - _IP + len(payload)
    if length > _LENGTH_MAX:
        return None
    struct.pack_into(">H", whole, _IP + 2, length)
    struct.pack_into(">HHH", whole, _IP + 6, 0, whole[_IP + 8] << 8 | whole[_IP + 9], 0)
    struct.pack_into(">H", whole, _IP + 10, checksum(whole[_IP:]))
    return bytes(whole) + payload
