"""A hostile guest against the file servers: nothing is raised, nothing leaks out, tables end.

Requests are made of pieces that mean something, so that many get far: names that are there, numbers in use.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "shares"))

from fake_kernel import FakeMessage

from ringfence.shares.directory import Directory
from ringfence.shares.fuse import wire as fuse
from ringfence.shares.fuse.server import FuseServer
from ringfence.shares.ninep import wire as ninep
from ringfence.shares.ninep.server import NinePServer

fuzz = settings(max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))

names = st.sampled_from(
    [b"a", b"b", b"dir", b"link", b"fifo", b"..", b".", b"", b"../secret", b"x" * 256, b"n/m"]
)
numbers = st.sampled_from([0, 1, 2, 3, 4, 5, 100, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
rooms = st.sampled_from([0, 7, 11, 16, 24, 200, 4096])
pieces = st.one_of(
    names.map(lambda name: name + b"\0"),
    names.map(ninep.string),
    numbers.map(lambda n: struct.pack("<Q", n)),
    numbers.map(lambda n: struct.pack("<I", n & 0xFFFF_FFFF)),
    st.binary(max_size=40),
)
bodies = st.lists(pieces, max_size=8).map(b"".join)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """What is beside the share is as it was at the end."""
    (tmp_path / "share/dir").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "share/a").write_text("a")
    (tmp_path / "share/link").symlink_to("../secret")
    os.mkfifo(tmp_path / "share/fifo")
    yield tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "share"]
    assert (tmp_path / "secret").read_text() == "secret"
    assert not [path for path in (tmp_path / "share").rglob("*") if path.is_block_device()]


def serve(server: FuseServer | NinePServer, request: bytes, room: int) -> bytes:
    message = FakeMessage(request, room)
    total = server.serve(message)
    assert 0 <= total <= room
    return bytes(message.answer[:total])


def test_fuse(folder: Path) -> None:
    server = FuseServer(Directory(folder / "share"))

    @fuzz
    @given(st.lists(st.tuples(st.integers(0, 52), numbers, bodies, rooms), max_size=12))
    def run(requests: list[tuple[int, int, bytes, int]]) -> None:
        init = fuse.INIT_IN.pack(7, 31, 0, 0)
        serve(server, fuse.IN_HEADER.pack(40 + len(init), 26, 1, 0, *[0] * 5) + init, 200)
        for opcode, node, body, room in requests:
            request = fuse.IN_HEADER.pack(40 + len(body), opcode, 1, node, *[0] * 5) + body
            answer = serve(server, request, room)
            assert b"secret" not in answer.replace(b"../secret", b"")

    run()
    server.close()


def test_ninep(folder: Path) -> None:
    server = NinePServer(Directory(folder / "share"))

    @fuzz
    @given(st.lists(st.tuples(st.integers(0, 130), bodies, rooms), max_size=12))
    def run(requests: list[tuple[int, bytes, int]]) -> None:
        version = struct.pack("<I", 8192) + ninep.string(ninep.VERSION)
        serve(server, ninep.HEADER.pack(7 + len(version), 100, 1) + version, 200)
        attach = struct.pack("<II", 0, 2**32 - 1) + ninep.string(b"") * 2 + bytes(4)
        serve(server, ninep.HEADER.pack(7 + len(attach), 104, 1) + attach, 200)
        for kind, body, room in requests:
            answer = serve(server, ninep.HEADER.pack(7 + len(body), kind, 1) + body, room)
            assert b"secret" not in answer.replace(b"../secret", b"")

    run()
    server.close()
