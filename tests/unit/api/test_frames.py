"""Frames from any pieces; no more memory than one frame; nothing unknown passes."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.api.frames import (
    HEADER,
    PAYLOAD_LIMIT,
    BadFrame,
    Channel,
    FrameParser,
    FrameSocket,
    encode,
    split,
)  # fmt: skip

FRAMES = st.lists(st.tuples(st.sampled_from(Channel), st.binary(max_size=100)))


@given(FRAMES, st.integers(1, 50))
def test_frames_come_out_whatever_the_pieces(frames: list[tuple[Channel, bytes]], size: int) -> None:
    data = b"".join(encode(*frame) for frame in frames)
    parser = FrameParser()
    found = [frame for at in range(0, len(data), size) for frame in parser.feed(data[at : at + size])]
    assert found == frames


@pytest.mark.parametrize("header", [HEADER.pack(200, 0), HEADER.pack(0, PAYLOAD_LIMIT + 1)])
def test_a_bad_header_is_refused_before_its_payload_comes(header: bytes) -> None:
    with pytest.raises(BadFrame):
        list(FrameParser().feed(header))


@given(st.binary(max_size=300))
def test_fuzzed_bytes_are_frames_or_refused(data: bytes) -> None:
    parser = FrameParser()
    try:
        list(parser.feed(data))
    except BadFrame:
        return
    assert len(parser._waiting) < HEADER.size + PAYLOAD_LIMIT


def test_data_is_split_at_the_limit() -> None:
    data = bytes(range(256)) * 600
    pieces = [payload for _, payload in split(Channel.DATA, data)]
    assert b"".join(pieces) == data and max(map(len, pieces)) == PAYLOAD_LIMIT


def test_a_socket_carries_frames_and_what_was_read_before() -> None:
    here, there = socket.socketpair()
    with here, there:
        near, far = FrameSocket(here), FrameSocket(there, encode(Channel.EOF, b"\x00"))
        near.send(Channel.STDIN, b"x" * PAYLOAD_LIMIT)
        assert far.receive() == (Channel.EOF, b"\x00")
        assert far.receive() == (Channel.STDIN, b"x" * PAYLOAD_LIMIT)
        near.close()
        near.close()
        assert far.receive() is None
        assert near.receive() is None
