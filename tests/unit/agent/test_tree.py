"""A tree that a hostile guest gives: nothing of it lands outside of the copy."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from ringfence.agent import tree
from ringfence.api import codec
from ringfence.api.frames import CHECKSUM, Channel, Frame
from ringfence.api.messages import BadMessage, Entry, Exit, Message
from ringfence.errors import AgentError, RingfenceError, UserError


class Script:
    """A `Duplex` that gives these frames, and keeps what it is sent."""

    def __init__(self, *frames: Frame | Message) -> None:
        self._frames = [
            frame if isinstance(frame, tuple) else (_channel(frame), codec.encode(frame)) for frame in frames
        ]
        self.sent: list[Frame] = []
        self.is_closed = False

    def send(self, channel: Channel, payload: bytes) -> None:
        self.sent.append((channel, payload))

    def receive(self) -> Frame | None:
        return self._frames.pop(0) if self._frames else None

    def close(self) -> None:
        self.is_closed = True


def _channel(message: Message) -> Channel:
    return Channel.EXIT if isinstance(message, Exit) else Channel.ENTRY


def content(data: bytes) -> list[Frame]:
    return [(Channel.DATA, data), (Channel.END, CHECKSUM.pack(zlib.crc32(data)))]


def test_a_tree(tmp_path: Path) -> None:
    script = Script(
        Entry("", "directory", 0o755),
        Entry("sub", "directory", 0o500),
        Entry("sub/file", "file", 0o640, mtime_ns=5_000_000_001, size=4),
        *content(b"data"),
        Entry("link", "link", 0o777, target="/anywhere"),
        Exit(0),
    )
    tree.receive("/guest/name/", script, tmp_path)
    file = tmp_path / "name" / "sub" / "file"
    assert file.read_bytes() == b"data"
    assert file.stat().st_mode & 0o777 == 0o640 and file.stat().st_mtime_ns == 5_000_000_001
    assert os.readlink(tmp_path / "name" / "link") == "/anywhere"
    assert script.is_closed


def hostile() -> Sequence[list[Frame | Message]]:
    return [
        [Entry("", "directory", 0o755), Entry("out", "link", 0o777, target=".."),
         Entry("out/escaped", "file", 0o644), *content(b"x")],
        [Entry("", "link", 0o777, target=".."), Entry("escaped", "file", 0o644), *content(b"x")],
        [Entry("", "directory", 0o755), Entry("../escaped", "file", 0o644), *content(b"x")],
        [Entry("", "directory", 0o755), Entry("/escaped", "file", 0o644), *content(b"x")],
        [Entry("", "directory", 0o755), Entry("a\0b", "file", 0o644), *content(b"x")],
        [(Channel.DATA, b"x")],
        [(Channel.END, b"x")],
        [(Channel.STDOUT, b"x")],
        [(Channel.ENTRY, b"{}")],
        [Entry("", "file", 0o644), (Channel.DATA, b"x"), (Channel.END, b"1234")],
        [Entry("", "file", 0o644), (Channel.DATA, b"x"), (Channel.END, b"")],
        [Entry("", "file", 0o644), Entry("", "file", 0o644)],
    ]  # fmt: skip


@pytest.mark.parametrize("frames", hostile())
def test_what_is_no_tree(tmp_path: Path, frames: list[Frame | Message]) -> None:
    folder = tmp_path / "below" / "target"
    folder.mkdir(parents=True)
    script = Script(*frames, Exit(0))
    with pytest.raises((AgentError, UserError, BadMessage)):
        tree.receive("/name", script, folder / "copy")
    assert not list(tmp_path.rglob("escaped")) and not list(tmp_path.rglob("*.new"))
    assert script.is_closed


def test_set_user_id_is_left_out_and_odd_times_are_taken(tmp_path: Path) -> None:
    script = Script(Entry("", "file", 0o6755, mtime_ns=1 << 200), *content(b""), Exit(0))
    tree.receive("/name", script, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o755


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "copy").symlink_to("mine")
    tree.receive("/name", Script(Entry("", "file", 0o644), *content(b"new"), Exit(0)), tmp_path / "copy")
    assert (tmp_path / "mine").read_text() == "precious"
    assert (tmp_path / "copy").read_text() == "new"


def test_a_copy_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no space"):
        tree.receive("/name", Script(Exit(1, error="no space")), tmp_path / "copy")
    with pytest.raises(AgentError, match="broken off"):
        tree.receive("/name", Script(), tmp_path / "copy")


def test_sending(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_bytes(b"data")
    (tmp_path / "tree" / "link").symlink_to("sub")
    os.mkfifo(tmp_path / "tree" / "pipe")
    script = Script(Exit(0))
    names = []
    tree.send(tmp_path / "tree", lambda name: (names.append(name), script)[1])
    assert names == ["tree"]
    assert [channel for channel, _ in script.sent] == [
        Channel.ENTRY, Channel.ENTRY, Channel.ENTRY, Channel.ENTRY, Channel.DATA, Channel.END, Channel.EOF,
    ]  # fmt: skip
    paths = [codec.decode_entry(data).path for channel, data in script.sent if channel is Channel.ENTRY]
    assert paths == ["", "link", "sub", "sub/file"]
    with pytest.raises(RingfenceError, match="no such file"):
        tree.send(tmp_path / "nothing", lambda name: script)
