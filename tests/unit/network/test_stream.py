"""QEMU's stream framing, against a peer that cuts where it likes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_station import GATEWAY, GUEST, ipv4, tcp_of

from ringfence.errors import UserError
from ringfence.network.event_loop import EventLoop
from ringfence.network.offload import HEADER, PLAIN
from ringfence.network.stream import WAITING_FRAMES_MAX, Stream

FRAME = bytes(range(64))


class Ends:
    """Both ends of a stream."""

    def __init__(self, folder: Path) -> None:
        self.loop = EventLoop()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "peer"))
            listening.listen()
            self.stream = Stream(folder / "peer", self.loop)
            self.peer, _ = listening.accept()
        self.peer.settimeout(10)
        self.received: list[bytes] = []
        self.stream.connect(self.received.extend)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    ends = Ends(tmp_path)
    yield ends
    ends.stream.close()
    ends.peer.close()
    ends.loop.close()


def test_frames_go_with_their_length(ends: Ends) -> None:
    ends.stream.send([PLAIN + FRAME, PLAIN + FRAME[:20]])
    assert ends.peer.recv(1000) == b"\0\0\0\x40" + FRAME + b"\0\0\0\x14" + FRAME[:20]


def test_what_the_nic_left_to_do_is_done(ends: Ends) -> None:
    head = struct.pack(">HHIIBBHHH", 80, 81, 0, 0, 5 << 4, 16, 9, 0, 0)
    pseudo = struct.pack(">H", sum(struct.unpack(">6H", GUEST + GATEWAY + b"\0\6" + struct.pack(">H", 2020))))
    frame = ipv4(GUEST, GATEWAY, 6, head[:16] + pseudo + head[18:] + bytes(2000))[12:]
    ends.stream.send([HEADER.pack(1, 1, 54, 1000, 34, 16, 0) + frame])
    data = ends.peer.recv(5000)
    first, second = data[4:1058], data[1062:]
    assert len(tcp_of(first).data) == len(tcp_of(second).data) == 1000


@pytest.mark.parametrize("step", [1, 3, 67, 1000])
def test_frames_arrive_however_they_are_cut(ends: Ends, step: int) -> None:
    data = (b"\0\0\0\x40" + FRAME) * 5
    for at in range(0, len(data), step):
        ends.peer.sendall(data[at : at + step])
        ends.loop.run_once(1)
    assert ends.received == [PLAIN + FRAME] * 5


def test_a_length_of_no_frame_ends_it(ends: Ends) -> None:
    ends.peer.sendall(b"\0\0\0\x40" + FRAME + b"\xff\xff\xff\xff")
    ends.loop.run_once(1)
    assert ends.stream.metrics()["stream_ended"] == 1
    assert ends.peer.recv(1) == b""
    ends.stream.send([PLAIN + FRAME])


def test_a_peer_that_does_not_read_costs_no_more_than_a_queue(ends: Ends) -> None:
    for _ in range(60):
        ends.stream.send([PLAIN + bytes(9000)] * 50)
    assert len(ends.stream._waiting) == WAITING_FRAMES_MAX
    whole = 3000 - ends.stream.metrics()["stream_dropped"]
    got = b""
    while len(got) < whole * 9004:
        got += ends.peer.recv(1 << 20)
        ends.loop.run_once(0)
    assert got == (struct.pack(">I", 9000) + bytes(9000)) * whole


def test_a_peer_that_leaves(ends: Ends) -> None:
    ends.peer.close()
    ends.loop.run_once(1)
    ends.stream.send([PLAIN + FRAME])
    assert ends.stream.metrics()["stream_ended"] == 1


def test_nobody_listens(tmp_path: Path) -> None:
    loop = EventLoop()
    with pytest.raises(UserError, match="No such file"):
        Stream(tmp_path / "none", loop)
    loop.close()
