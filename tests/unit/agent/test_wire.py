"""Frames of the agent protocol: C and Python agree, and any bytes are taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.agent import PROGRAMS, guest_program, wire
from ringfence.agent.build import SOURCES, build


@pytest.mark.parametrize("arch", PROGRAMS)
def test_the_program_is_that_of_the_sources(arch: str, tmp_path: Path) -> None:
    build(arch, tmp_path / "agent")
    program = (tmp_path / "agent").read_bytes()
    assert program == guest_program(arch), f"{PROGRAMS[arch]} is stale: run setup.py build_ext"


@pytest.mark.parametrize(("arch", "elf_class"), [("amd64", 2), ("i386", 1)])
def test_the_program_needs_no_library(arch: str, elf_class: int) -> None:
    program = guest_program(arch)
    assert program.startswith(b"\x7fELF" + bytes([elf_class])) and b"ld-linux" not in program
    assert len(program) < 32 << 10


def test_c_and_python_have_the_same_numbers() -> None:
    text = (SOURCES / "wire.h").read_text()
    numbers = dict(re.findall(r"\b([A-Z_]+) = (\d+)\b", text))
    assert {kind.name: kind.value for kind in wire.Type}.items() <= {
        name: int(value) for name, value in numbers.items()
    }.items()
    windows = dict(re.findall(r"(INPUT_WINDOW|OUTPUT_WINDOW) = (\d+) << 10", text))
    assert int(windows["INPUT_WINDOW"]) << 10 == wire.INPUT_WINDOW
    assert int(windows["OUTPUT_WINDOW"]) << 10 == wire.OUTPUT_WINDOW
    assert int(numbers["STREAMS"]) == wire.STREAMS and int(numbers["FRAME_MAX"]) == wire.FRAME_MAX


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=50))), st.integers(1, 30))
def test_frames_come_in_pieces_of_any_size(sent: list[tuple[int, bytes]], piece: int) -> None:
    data = b"".join(wire.frame(number, wire.Type.DATA, payload, 1) for number, payload in sent)
    parser = wire.Parser()
    received = [
        frame for at in range(0, len(data), piece) for frame in list(parser.feed(data[at : at + piece]))
    ]
    assert [(frame.stream, frame.payload) for frame in received] == sent


@given(st.lists(st.binary(max_size=100)))
def test_any_bytes(pieces: list[bytes]) -> None:
    parser = wire.Parser()
    for piece in pieces:
        for frame in parser.feed(piece):
            wire.parse_done(frame.payload)
            wire.parse_hello(frame.payload)
            wire.parse_records(frame.payload)
            wire.parse_window(frame.payload)
    assert len(parser._waiting) < wire.FRAME_MAX


@given(st.binary(max_size=200))
def test_any_records(payload: bytes) -> None:
    records = wire.parse_records(payload)
    assert records is None or all(isinstance(record.name, str) for record in records)
