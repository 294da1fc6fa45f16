"""Published UDP: datagrams from this host to a program in the guest, and back."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from session import Session

from benchmarks.guest_console import HAS_ADDRESS
from ringfence.image.debian import Guest

UDP_PORT = 7000
#: The longest take several frames, and the last all that IP can say.
SIZES = (1, 1200, 6000, 65507)


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _linux(debian: Guest, initrd: Path, *options: str | Path) -> Session:
    kernel = ("--kernel", debian.kernel, "--initrd", initrd, "--append", "console=ttyS0 quiet")
    return Session(*kernel, *options)


def test_published_udp(debian: Guest, initrd_with_programs: Path) -> None:
    port = _free_port(socket.SOCK_DGRAM)
    session = _linux(debian, initrd_with_programs, "--network", "user", "-p", f"{port}:{UDP_PORT}/udp")
    try:
        session.boot().run(f"{HAS_ADDRESS}; udp_echo {UDP_PORT} & true")
        callers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in SIZES]
        for size, caller in zip(SIZES, callers, strict=True):
            caller.settimeout(1)
            caller.connect(("127.0.0.1", port))
            said = os.urandom(size)
            assert _echo(caller, said) == said
        for caller in callers:
            with pytest.raises(TimeoutError):
                caller.recv(1)  # nobody hears another's
            caller.close()
    finally:
        session.kill()


def _echo(caller: socket.socket, said: bytes) -> bytes:
    """Said again until there is an answer: datagrams may be lost, and the program may not be there yet."""
    deadline = time.monotonic() + 60
    while True:
        caller.send(said)
        try:
            heard = caller.recv(65536)
        except (TimeoutError, ConnectionRefusedError):
            assert time.monotonic() < deadline, "no answer"
            continue
        caller.settimeout(0.5)
        try:
            while True:
                caller.recv(65536)  # answers to what was said again
        except TimeoutError:
            return heard
