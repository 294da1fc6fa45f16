"""A guest's side of a user network: builds frames by hand, and a loop that is driven step by step.

What it builds it builds from the RFCs and not with the code under test, so that both can't be wrong alike.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from ringfence.api.network import Forward
from ringfence.network.event_loop import EventLoop
from ringfence.network.offload import PLAIN, is_sound, plain
from ringfence.network.user.stack import UserNetwork

MAC = bytes.fromhex("525246000001")
GATEWAY_MAC = bytes.fromhex("525246ffff01")
GUEST, GATEWAY, DNS = b"\x0a\x00\x02\x0f", b"\x0a\x00\x02\x02", b"\x0a\x00\x02\x03"
EVERYBODY, NOBODY = b"\xff" * 4, bytes(4)
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def ones_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ipv4(source: bytes, destination: bytes, protocol: int, payload: bytes, mac: bytes = MAC) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, source, destination
    )
    head = head[:10] + struct.pack(">H", ones_sum(head) ^ 0xFFFF) + head[12:]
    return PLAIN + GATEWAY_MAC + mac + b"\x08\x00" + head + payload


def summed(source: bytes, destination: bytes, protocol: int, segment: bytes, at: int) -> bytes:
    """A TCP or UDP segment with its checksum filled in."""
    pseudo = source + destination + struct.pack(">BBH", 0, protocol, len(segment))
    value = ones_sum(pseudo + segment) ^ 0xFFFF
    return segment[:at] + struct.pack(">H", value) + segment[at + 2 :]


def udp(source_port: int, destination: bytes, port: int, data: bytes, source: bytes = GUEST) -> bytes:
    segment = struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data
    return ipv4(source, destination, 17, summed(source, destination, 17, segment, 6))


def dns_query(name: str, kind: int = 1, number: int = 0x4242) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)


class Seg(NamedTuple):
    """A TCP segment as the guest gets it."""

    port: int
    guest_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    data: bytes


class Station:
    """One guest on a user network. `sent_back` has the frames that came for it, whole and summed."""

    def __init__(
        self,
        forwards: tuple[Forward, ...] = (),
        allow: tuple[str, ...] | None = ("127.0.0.1", "0.0.0.0/0", "*"),
        name_servers: list[tuple[bytes, int]] | None = None,
    ) -> None:
        self.loop = EventLoop()
        self.network = UserNetwork(self.loop, name_servers or [])
        self.sent_back: list[bytes] = []
        client = self.network.add(MAC, "guest", forwards, allow)
        assert client is not None
        self.client = client
        self.network.connect(self._take)

    def _take(self, packets: list[bytes]) -> None:  # type: ignore[override]
        for packet in packets:
            assert is_sound(packet)
            self.sent_back += plain(packet)

    def send(self, *packets: bytes) -> list[bytes]:
        """Send, let the network work as long as it does so by itself, and take what came back."""
        self.loop.call(lambda: self.network.send(packets))
        frames = self.step()
        while self.loop.is_hurried:
            frames += self.step()
        return frames

    def step(self, seconds: float = 0.0) -> list[bytes]:
        """One round, which waits so long for something."""
        self.loop.run_once(seconds)
        taken, self.sent_back = self.sent_back, []
        assert self.loop.failures == 0
        return taken

    def until(self, is_done: Callable[[list[bytes]], bool], seconds: float = 10.0) -> list[bytes]:
        """Rounds until what came back is enough."""
        frames: list[bytes] = []
        end = time.monotonic() + seconds
        while not is_done(frames):
            assert time.monotonic() < end, f"only {len(frames)} frames came: {self.network.counters}"
            frames += self.step(0.05)
        return frames

    def close(self) -> None:
        self.network.close()
        self.loop.close()


def udp_of(frame: bytes) -> tuple[bytes, int, bytes, int, bytes]:
    """Source and port, destination and port, data; the checksums hold."""
    assert frame[12:14] == b"\x08\x00" and frame[23] == 17
    assert ones_sum(frame[14:34]) == 0xFFFF
    source, destination, segment = frame[26:30], frame[30:34], frame[34:]
    source_port, port, length, _ = struct.unpack_from(">HHHH", segment)
    assert length == len(segment)
    assert ones_sum(source + destination + struct.pack(">BBH", 0, 17, length) + segment) == 0xFFFF
    return source, source_port, destination, port, segment[8:]


def tcp_of(frame: bytes) -> Seg:
    """The segment; the checksums hold."""
    assert frame[12:14] == b"\x08\x00" and frame[23] == 6
    assert ones_sum(frame[14:34]) == 0xFFFF
    segment = frame[34:]
    pseudo = frame[26:34] + struct.pack(">BBH", 0, 6, len(segment))
    assert ones_sum(pseudo + segment) == 0xFFFF
    port, guest_port, sequence, acknowledgement, offset, flags, window = struct.unpack_from(
        ">HHIIBBH", segment
    )
    return Seg(port, guest_port, sequence, acknowledgement, flags, window, segment[offset >> 4 << 2 :])


def is_tcp(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\x00" and frame[23] == 6


class Tcp:
    """A guest's TCP in the least code: what it is told to send it sends."""

    def __init__(self, station: Station, port: int, guest_port: int = 40000, to: bytes = GATEWAY) -> None:
        self.station = station
        self.to = to
        self.ports = (guest_port, port)
        self.next = 1000
        self.expected = 0
        self.window = 0xFFFF
        self.received = b""

    def packet(
        self, flags: int, data: bytes = b"", options: bytes = b"", sequence: int | None = None
    ) -> bytes:
        head = struct.pack(
            ">HHIIBBHHH",
            *self.ports,
            self.next if sequence is None else sequence,
            self.expected,
            (20 + len(options)) << 2,
            flags,
            self.window,
            0,
            0,
        )
        return ipv4(GUEST, self.to, 6, summed(GUEST, self.to, 6, head + options + data, 16))

    def send(self, flags: int, data: bytes = b"", options: bytes = b"") -> list[Seg]:
        packet = self.packet(flags, data, options)
        self.next = (self.next + len(data) + bool(flags & SYN) + bool(flags & FIN)) & 0xFFFF_FFFF
        segments = [tcp_of(frame) for frame in self.station.send(packet) if is_tcp(frame)]
        return [segment for segment in segments if segment.guest_port == self.ports[0]]

    def open(self, options: bytes = b"") -> Seg:
        """The three-way handshake; returns the SYN that came."""
        answers = self.send(SYN, options=options)
        if not answers:
            frames = self.station.until(lambda got: any(map(is_tcp, got)))
            answers = [tcp_of(frame) for frame in frames if is_tcp(frame)]
        (answer,) = answers
        assert answer.flags == SYN | ACK and answer.acknowledgement == self.next
        self.expected = (answer.sequence + 1) & 0xFFFF_FFFF
        self.send(ACK)
        return answer

    def take(self, count: int, acknowledge: bool = True) -> list[Seg]:
        """Receive in order until there are ``count`` bytes."""
        segments: list[Seg] = []
        end = time.monotonic() + 10
        while len(self.received) < count:
            assert time.monotonic() < end, f"{len(self.received)} of {count} bytes"
            got = [tcp_of(frame) for frame in self.station.step(0.05) if is_tcp(frame)]
            segments += got
            for segment in got:
                if segment.sequence == self.expected:
                    self.received += segment.data
                    self.expected = (segment.sequence + len(segment.data)) & 0xFFFF_FFFF
            if got and acknowledge:
                self.station.loop.call(lambda: self.station.network.send([self.packet(ACK)]))
        return segments


def server() -> tuple[socket.socket, int]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(10)
    return listening, listening.getsockname()[1]
