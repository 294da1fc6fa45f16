"""The control socket: who may talk to it, how much they may say, and what becomes of them at the end."""

from __future__ import annotations

import os
import queue
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.api import codec, messages
from ringfence.api.frames import Channel, Duplex, Frame, encode
from ringfence.api.messages import Answer, Done, Ended, Refused, Request
from ringfence.host.client import Client, Gone
from ringfence.vmm import server as server_module
from ringfence.vmm.server import Server

ENDED = Ended("power_off", 0, 0, "the guest powered off", "")


class Echo:
    """Gives STDIN back as STDOUT, and ends with the input."""

    def __init__(self) -> None:
        self.frames: queue.Queue[Frame | None] = queue.Queue()
        self.is_closed = threading.Event()

    def send(self, channel: Channel, payload: bytes) -> None:
        is_end = channel is Channel.EOF
        self.frames.put((Channel.EXIT, b"") if is_end else (Channel.STDOUT, payload))

    def receive(self) -> Frame | None:
        return self.frames.get()

    def close(self) -> None:
        self.is_closed.set()
        self.frames.put(None)


class Requests:
    """Grants most."""

    def __init__(self) -> None:
        self.streams: list[Echo] = []

    def answer(self, request: Request) -> Answer | Duplex:
        if isinstance(request, messages.Console):
            self.streams.append(Echo())
            return self.streams[-1]
        if isinstance(request, messages.Get):
            raise Refused("no-agent", "there is none")
        return Done()


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vm.sock"


@pytest.fixture
def server(path: Path, requests: Requests) -> Iterator[Server]:
    server = Server(path, requests, lambda: ENDED)
    server.start()
    yield server
    if path.exists():
        server.end(1)


def test_only_its_user_gets_at_the_socket(server: Server, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_user_is_turned_away(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "is_allowed", lambda connection: False)
    with pytest.raises(Gone), Client(path) as client:
        client.ask(messages.Hello())
    assert server.refused == 1


def test_the_kernel_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()
    with here, there:
        assert server_module.is_allowed(here)
        monkeypatch.setattr(server_module.os, "geteuid", lambda: os.getuid() + 1)
        assert server_module.is_allowed(here) == (os.getuid() == 0)


def test_requests_are_answered_one_after_the_other(server: Server, path: Path) -> None:
    with Client(path) as client:
        assert client.ask(messages.Pause()) == Done()
        with pytest.raises(Refused, match="there is none"):
            client.ask(messages.Get("/etc"))
        assert client.ask(messages.Resume()) == Done()


def test_nonsense_gets_an_answer_and_the_connection_lives(server: Server, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(b"GET / HTTP/1.1\n" + codec.encode(messages.Hello()))
        reader = peer.makefile("rb")
        with pytest.raises(Refused, match="JSON"):
            codec.decode_answer(reader.readline())
        assert codec.decode_answer(reader.readline()) == Done()


def test_a_request_without_end_is_cut_off(server: Server, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        with pytest.raises(OSError):
            for _ in range(1000):
                peer.sendall(b"x" * messages.REQUEST_LIMIT)


def test_there_are_not_more_connections_than_the_limit(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_LIMIT", 2)
    with Client(path) as first, Client(path) as second:
        first.ask(messages.Hello())
        second.ask(messages.Hello())
        with pytest.raises(Gone), Client(path) as third:
            third.ask(messages.Hello())
    deadline = time.monotonic() + 5
    while server._open and time.monotonic() < deadline:
        time.sleep(0.01)
    with Client(path) as fourth:
        assert fourth.ask(messages.Hello()) == Done()


def test_a_stream_goes_both_ways_and_ends_with_its_exit(
    server: Server, path: Path, requests: Requests
) -> None:
    with Client(path) as client:
        stream = client.open(messages.Console())
        stream.send(Channel.STDIN, b"hello")
        assert stream.receive() == (Channel.STDOUT, b"hello")
        stream.send(Channel.EOF, bytes([Channel.STDIN]))
        assert stream.receive() == (Channel.EXIT, b"")
        assert stream.receive() is None
    assert requests.streams[0].is_closed.wait(5)


def test_frames_right_after_the_request_are_not_lost(server: Server, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(codec.encode(messages.Console()) + encode(Channel.STDIN, b"early"))
        reader = peer.makefile("rb")
        codec.decode_answer(reader.readline())
        assert reader.read(5 + 5) == encode(Channel.STDOUT, b"early")


def test_a_peer_that_leaves_closes_its_stream(server: Server, path: Path, requests: Requests) -> None:
    with Client(path) as client:
        client.open(messages.Console())
    assert requests.streams[0].is_closed.wait(5)


def test_a_bad_frame_closes_the_stream(server: Server, path: Path, requests: Requests) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(codec.encode(messages.Console()) + b"\xff" * 100)
        assert requests.streams or peer.recv(100)
        while peer.recv(100):
            pass
    assert requests.streams[0].is_closed.wait(5)


def test_who_waits_hears_of_the_end(server: Server, path: Path) -> None:
    found: list[Answer] = []
    with Client(path) as client:
        waiter = threading.Thread(target=lambda: found.append(client.ask(messages.Wait())))
        waiter.start()
        with Client(path) as other:
            other.ask(messages.Hello())
        server.end(2)
        waiter.join(5)
    assert found == [ENDED]
    assert not path.exists()
    with pytest.raises(Gone):
        Client(path)


def test_who_has_connected_may_still_ask_when_it_has_ended(server: Server, path: Path) -> None:
    with Client(path) as client:
        while not server._open:
            time.sleep(0.01)
        ending = threading.Thread(target=server.end, args=(60,))
        ending.start()
        while path.exists():
            time.sleep(0.01)
        assert client.ask(messages.Wait()) == ENDED
        ending.join(60)


def test_who_asks_nothing_does_not_hold_the_end_up(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "ASK_SECONDS", 0.1)
    with Client(path) as client:
        while not server._open:
            time.sleep(0.01)
        server.end(60)
        with pytest.raises(Gone):
            client.ask(messages.Wait())


def test_the_end_does_not_wait_for_a_stream_for_ever(server: Server, path: Path) -> None:
    with Client(path) as client:
        client.open(messages.Console())
        began = time.monotonic()
        server.end(0.2)
        assert time.monotonic() - began < 5
    assert not server._open


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_fuzzed_connections_leave_the_server_as_it_was(
    server: Server, path: Path, pieces: list[bytes]
) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        for piece in pieces:
            peer.sendall(piece)
    with Client(path) as client:
        assert client.ask(messages.Hello()) == Done()
