"""Ethernet frames over a UNIX stream socket, as QEMU's ``-netdev stream`` frames them: length, then frame.

The length is 4 bytes, big-endian. passt(1), QEMU and others listen so. They know nothing of virtio-net
headers: checksums are filled in and long segments are cut before frames go there.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from ringfence.errors import UserError
from ringfence.log import logger
from ringfence.network import offload
from ringfence.network.backend import OnReceive
from ringfence.network.event_loop import READABLE, WRITABLE, EventLoop

_LENGTH = struct.Struct(">I")
_READ_BYTES = 256 << 10
#: Frames that wait for the peer; more are dropped.
WAITING_FRAMES_MAX = 1024


class Stream:
    """The NIC's end of a connection to whoever listens at ``path``.

    Raises:
        UserError: nobody does.
    """

    def __init__(self, path: Path, loop: EventLoop) -> None:
        self._loop = loop
        self._on_receive: OnReceive | None = None
        self._received = bytearray()
        self._waiting: deque[memoryview] = deque()
        self._is_open = True
        self._is_held = False
        self._watched = 0
        self.counters: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise UserError(f"--network {path}: {error.strerror or error}") from error
        self._socket.setblocking(False)

    def connect(self, on_receive: OnReceive) -> None:
        self._on_receive = on_receive
        self._watch()

    def send(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            for frame in offload.plain(packet):
                if len(self._waiting) < WAITING_FRAMES_MAX:
                    self._waiting.append(memoryview(_LENGTH.pack(len(frame)) + frame))
                else:
                    self.counters["stream_dropped"] += 1
        self._flush()

    def hold(self, is_held: bool) -> None:
        self._is_held = is_held
        self._watch()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()

    def metrics(self) -> dict[str, int]:
        return dict(self.counters)

    def _flush(self) -> None:
        """Hand over what the peer takes; a frame may go in parts, and no other comes between them."""
        try:
            while self._waiting and self._is_open:
                first = self._waiting[0]
                done = self._socket.send(first)
                if done < len(first):
                    self._waiting[0] = first[done:]
                else:
                    self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._end("is gone")
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
            self._flush()
        if events & READABLE and self._is_open:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._received += data
                self._cut()
            else:
                self._end("is gone")

    def _cut(self) -> None:
        """Take the whole frames from what has arrived."""
        packets = []
        at = 0
        while at + _LENGTH.size <= len(self._received):
            (length,) = _LENGTH.unpack_from(self._received, at)
            if length > offload.FRAME_BYTES_MAX:
                self._end("sends what is no frame")
                return
            end = at + _LENGTH.size + length
            if end > len(self._received):
                break
            packets.append(offload.PLAIN + self._received[at + _LENGTH.size : end])
            at = end
        del self._received[:at]
        if packets and self._on_receive is not None:
            self._on_receive(packets)

    def _end(self, why: str) -> None:
        self.close()
        self.counters["stream_ended"] += 1
        logger.warning("the network's peer %s: the network is cut off", why)
