"""A program in the guest, from the side of who started it: input, output, end."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.api import codec
from ringfence.api.frames import FIRST_WINDOW, WINDOW, Channel, Duplex, split
from ringfence.api.messages import Exit
from ringfence.host.client import Gone


class Input:
    """What is typed to a program: never more under way than the guest has room for."""

    def __init__(self, stream: Duplex) -> None:
        self._stream = stream
        #: bytes that may be sent now
        self.room = FIRST_WINDOW

    def write(self, data: bytes) -> None:
        """At most `room` bytes."""
        self.room -= len(data)
        for channel, payload in split(Channel.STDIN, data):
            self._stream.send(channel, payload)

    def widen(self, payload: bytes) -> None:
        """A WINDOW frame came."""
        if len(payload) == WINDOW.size:
            self.room += WINDOW.unpack(payload)[0]

    def end(self) -> None:
        self._stream.send(Channel.EOF, bytes([Channel.STDIN]))


def communicate(stream: Duplex, data: bytes, on_output: Callable[[Channel, bytes], object]) -> Exit:
    """Give a program all its input, and pass its output on, until it ends.

    Raises:
        Gone: the machine went away first.
    """
    typed = Input(stream)
    at = 0
    is_open = True
    while True:
        if is_open:
            piece = data[at : at + typed.room]
            is_open = _send(typed, piece, is_last=at + len(piece) == len(data))
            at += len(piece)
            is_open = is_open and at < len(data)
        frame = stream.receive()
        if frame is None:
            raise Gone("the machine went away before the program's end")
        channel, payload = frame
        if channel is Channel.EXIT:
            return codec.decode_exit(payload)
        if channel is Channel.WINDOW:
            typed.widen(payload)
        elif channel in (Channel.STDOUT, Channel.STDERR):
            on_output(channel, payload)


def _send(typed: Input, piece: bytes, is_last: bool) -> bool:
    """False where nobody reads any more: the program has ended, and says so."""
    try:
        typed.write(piece)
        if is_last:
            typed.end()
    except OSError:
        return False
    return True
