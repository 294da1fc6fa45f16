"""Input of a program in the guest keeps to the window; output and end come back."""

from __future__ import annotations

import pytest

from ringfence.api import codec
from ringfence.api.frames import FIRST_WINDOW, WINDOW, Channel, Frame
from ringfence.api.messages import Exit
from ringfence.host.client import Gone
from ringfence.host.process import communicate


class Cat:
    """A program that reads all its input before it says how much it was, granting a little at a time."""

    def __init__(self, grant: int = 1000) -> None:
        self.room = FIRST_WINDOW
        self.taken = 0
        self.grant = grant
        self.has_ended = False

    def send(self, channel: Channel, payload: bytes) -> None:
        if channel is Channel.EOF:
            self.has_ended = True
            return
        assert channel is Channel.STDIN
        self.room -= len(payload)
        self.taken += len(payload)
        assert self.room >= 0, "more than the window was sent"

    def receive(self) -> Frame | None:
        if self.has_ended:
            self.has_ended = False
            return Channel.STDOUT, str(self.taken).encode()
        if self.room < FIRST_WINDOW and not self.taken % 1:
            self.room += self.grant
            if self.taken < TOTAL:
                return Channel.WINDOW, WINDOW.pack(self.grant)
        return Channel.EXIT, codec.encode(Exit(3))

    def close(self) -> None:
        pass


TOTAL = FIRST_WINDOW + 50_000


def test_input_keeps_to_the_window() -> None:
    output = bytearray()
    ended = communicate(Cat(), b"x" * TOTAL, lambda channel, payload: output.extend(payload))
    assert ended == Exit(3)
    assert int(output) == TOTAL


def test_a_program_that_ends_before_it_has_read_all() -> None:
    class Deaf(Cat):
        def send(self, channel: Channel, payload: bytes) -> None:
            raise BrokenPipeError

    assert communicate(Deaf(), b"x", lambda channel, payload: None) == Exit(3)


def test_a_machine_that_goes_away() -> None:
    class Gone_(Cat):
        def receive(self) -> Frame | None:
            return None

    with pytest.raises(Gone):
        communicate(Gone_(), b"", lambda channel, payload: None)
