"""Frames: what a connection carries once a request has opened a stream (docs/design/api.md).

A frame is a channel (1 byte), the payload's length (4 bytes, big endian) and the payload, 64 KiB at most. The
same frames go over the control socket and in and out of the guest agent, so a VMM hands them through.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from ringfence.errors import RingfenceError

HEADER = struct.Struct(">BI")
PAYLOAD_LIMIT = 1 << 16
#: Bytes of STDIN that may be under way before the first WINDOW.
FIRST_WINDOW = 1 << 18
SIZE = struct.Struct(">HH")
WINDOW = struct.Struct(">I")
CHECKSUM = struct.Struct(">I")


class Channel(enum.IntEnum):
    """What a payload is. To the guest: STDIN, RESIZE, SIGNAL, EOF; ENTRY, DATA, END for `Put`.

    From it: STDOUT, STDERR, WINDOW, EOF, EXIT; ENTRY, DATA, END for `Get`.
    """

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    #: of the terminal: rows and columns, two bytes each
    RESIZE = 3
    #: a signal's number, one byte
    SIGNAL = 4
    #: one byte: the channel that has ended. What a `Put` sends ends with EOF of ENTRY
    EOF = 5
    #: the last frame of a stream: `messages.Exit` as JSON
    EXIT = 6
    #: four bytes: this much more STDIN may be sent
    WINDOW = 7
    #: one file, directory or link of a copy: `messages.Entry` as JSON; a file's DATA follow, and END
    ENTRY = 8
    DATA = 9
    #: CRC-32 (ISO 3309, as zlib has it) of the file's data, four bytes
    END = 10


Frame = tuple[Channel, bytes]


class BadFrame(RingfenceError):
    """The other side does not keep to the protocol: the connection is of no more use."""


class Duplex(Protocol):
    """Both ends of a stream: of a process in the guest, of a copy, of a console."""

    def send(self, channel: Channel, payload: bytes) -> None:
        """Never waits for the guest: STDIN beyond the window is an error of the sender.

        DATA may wait.
        """
        ...

    def receive(self) -> Frame | None:
        """The next frame; None when there are no more. Waits."""
        ...

    def close(self) -> None:
        """Give the stream up, from any thread; `receive` then returns None. A process gets SIGHUP."""
        ...


def encode(channel: Channel, payload: bytes) -> bytes:
    return HEADER.pack(channel, len(payload)) + payload


def split(channel: Channel, data: bytes) -> Iterator[Frame]:
    """Any amount of data as frames."""
    view = memoryview(data)
    for start in range(0, len(view), PAYLOAD_LIMIT):
        yield channel, bytes(view[start : start + PAYLOAD_LIMIT])


class FrameParser:
    """Frames from bytes as they come, in pieces of any size; holds less than one frame between calls."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            BadFrame: an unknown channel, or a payload over the limit.
        """
        waiting = self._waiting
        waiting += data
        at = 0
        try:
            while len(waiting) - at >= HEADER.size:
                number, length = HEADER.unpack_from(waiting, at)
                channel = check_header(number, length)
                end = at + HEADER.size + length
                if end > len(waiting):
                    break
                payload = bytes(waiting[at + HEADER.size : end])
                at = end
                yield channel, payload
        finally:
            del waiting[:at]


def check_header(number: int, length: int) -> Channel:
    """Raises:
    BadFrame: an unknown channel, or a payload over the limit.
    """
    if length > PAYLOAD_LIMIT:
        raise BadFrame(f"a frame of {length} bytes: the limit is {PAYLOAD_LIMIT}")
    try:
        return Channel(number)
    except ValueError as error:
        raise BadFrame(f"a frame for the unknown channel {number}") from error


class FrameSocket:
    """A `Duplex` over a connected socket; one thread may send while another receives.

    Args:
        waiting: bytes that were read from the socket before it became a stream.
    """

    def __init__(self, connection: socket.socket, waiting: bytes = b"") -> None:
        self._socket = connection
        self._parser = FrameParser()
        self._early = waiting
        self._ready: deque[Frame] = deque()

    @property
    def is_ready(self) -> bool:
        """`receive` has something without reading from the socket."""
        return bool(self._ready or self._early)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, channel: Channel, payload: bytes) -> None:
        self._socket.sendall(encode(channel, payload))

    def receive(self) -> Frame | None:
        """Raises:
        BadFrame: the other side does not keep to the protocol.
        OSError: the connection broke.
        """
        while not self._ready:
            data = self._early or self._socket.recv(PAYLOAD_LIMIT + HEADER.size)
            self._early = b""
            if not data:
                return None
            self._ready.extend(self._parser.feed(data))
        return self._ready.popleft()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # where it is not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)
