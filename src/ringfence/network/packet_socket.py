"""Packets through a socket that keeps their borders (SOCK_SEQPACKET): one message, one packet.

What the other side does not take in time waits here, up to a limit; then it is dropped.
"""

from __future__ import annotations

import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence

from ringfence.network import offload
from ringfence.network.backend import QUEUE_PACKETS_MAX
from ringfence.network.event_loop import READABLE, WRITABLE, EventLoop

#: One byte more than the longest packet, so that a longer one is seen as such.
_MESSAGE_BYTES_MAX = offload.HEADER_BYTES + offload.FRAME_BYTES_MAX + 1
#: Messages taken before other sockets have their turn.
_BATCH = 64


class PacketSocket:
    """One end. ``on_packets`` takes sound packets, ``on_gone`` hears once that the other end is closed."""

    def __init__(
        self,
        loop: EventLoop,
        connected: socket.socket,
        on_packets: Callable[[Sequence[bytes]], object],
        on_gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._socket = connected
        self._on_packets = on_packets
        self._on_gone = on_gone
        self._waiting: deque[bytes] = deque()
        self._is_open = True
        self._is_held = False
        self._watched = 0
        self.counters: Counter[str] = Counter()
        connected.setblocking(False)
        self._watch()

    def send(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            if self._waiting or not self._put(packet):
                self._wait(packet)

    def hold(self, is_held: bool) -> None:
        """Leave what comes in the socket, or take it again."""
        self._is_held = is_held
        self._watch()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()

    def _put(self, packet: bytes) -> bool:
        """Whether there was room for it, or nobody to take it."""
        if self._is_open:
            try:
                self._socket.send(packet)
            except BlockingIOError:
                return False
            except OSError:
                self._end()
        return True

    def _wait(self, packet: bytes) -> None:
        if len(self._waiting) >= QUEUE_PACKETS_MAX:
            self.counters["socket_dropped"] += 1
            return
        self._waiting.append(packet)
        self._watch()

    def _watch(self) -> None:
        events = (0 if self._is_held else READABLE) | (WRITABLE if self._waiting else 0)
        if not self._is_open or events == self._watched:
            return
        self._watched = events
        if events:
            self._loop.watch(self._socket.fileno(), events, self._on_event)
        else:
            self._loop.unwatch(self._socket.fileno())

    def _on_event(self, events: int) -> None:
        if events & WRITABLE:
            while self._waiting and self._put(self._waiting[0]):
                self._waiting.popleft()
            self._watch()
        if events & READABLE:
            self._take()

    def _take(self) -> None:
        packets = []
        is_gone = False
        for _ in range(_BATCH if self._is_open else 0):
            try:
                packet = self._socket.recv(_MESSAGE_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                is_gone = True
                break
            if offload.is_sound(packet):
                packets.append(packet)
            else:
                self.counters["malformed"] += 1
        if packets:
            self._on_packets(packets)
        if is_gone:
            self._end()

    def _end(self) -> None:
        if self._is_open:
            self.close()
            self._on_gone()
