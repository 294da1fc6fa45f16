"""Copies: a tree arrives as it was sent, and a guest that lies gets nowhere outside it."""

from __future__ import annotations

import os
import stat
import zlib
from collections import deque
from pathlib import Path

import pytest

from ringfence.api import codec
from ringfence.api.frames import CHECKSUM, Channel, Frame
from ringfence.api.messages import BadMessage, Entry, Exit
from ringfence.errors import UserError
from ringfence.host import copy
from ringfence.host.client import Gone
from ringfence.host.copy import Copied, CopyFailed

EXIT_0 = Channel.EXIT, codec.encode(Exit(0))


class Script:
    """A stream that gives these frames, and keeps what it is sent."""

    def __init__(self, *frames: Frame) -> None:
        self.frames = deque(frames)
        self.sent: list[Frame] = []

    def send(self, channel: Channel, payload: bytes) -> None:
        self.sent.append((channel, payload))

    def receive(self) -> Frame | None:
        return self.frames.popleft() if self.frames else None

    def close(self) -> None:
        self.frames.clear()


def entry(path: str, kind: str = "file", mode: int = 0o644, target: str = "") -> Frame:
    return Channel.ENTRY, codec.encode(Entry(path, kind, mode, 10**18, target=target))


def file(path: str, data: bytes, mode: int = 0o644) -> list[Frame]:
    return [entry(path, "file", mode), (Channel.DATA, data), (Channel.END, CHECKSUM.pack(zlib.crc32(data)))]


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """What is below, by name: mode and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        data = os.fsencode(os.readlink(path)) if path.is_symlink() else b""
        found[str(path.relative_to(root))] = mode, path.read_bytes() if stat.S_ISREG(mode) else data
    return found


def test_a_tree_arrives_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "script").write_bytes(os.urandom(200_000))
    (source / "a" / "b" / "script").chmod(0o755)
    (source / "a" / "nothing").touch()
    (source / "a" / "link").symlink_to("b/script")
    (source / "dangling").symlink_to("/nowhere")
    os.mkfifo(source / "pipe")
    (source / "a").chmod(0o500)
    sender = Script(EXIT_0)
    sent = copy.put(sender, source)
    assert sender.sent[-1] == (Channel.EOF, bytes([Channel.ENTRY]))
    received = copy.get(Script(*sender.sent[:-1], EXIT_0), tmp_path / "target", "source")
    (source / "pipe").unlink()
    assert tree(tmp_path / "target") == tree(source)
    assert sent == received == Copied(2, 200_000)
    (source / "a").chmod(0o700)
    (tmp_path / "target" / "a").chmod(0o700)


def test_into_a_directory_it_keeps_its_name(tmp_path: Path) -> None:
    copy.get(Script(*file("", b"x"), EXIT_0), tmp_path, "name")
    assert (tmp_path / "name").read_bytes() == b"x"
    assert (tmp_path / "name").stat().st_mtime_ns == 10**18


def test_set_id_bits_do_not_come_out_of_a_guest(tmp_path: Path) -> None:
    copy.get(Script(*file("", b"x", 0o6755), EXIT_0), tmp_path / "file", "")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o755


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root, link = entry("", "directory", 0o755), entry("a", "link", 0o777, str(outside))
    with pytest.raises(UserError):
        copy.get(Script(root, link, *file("a/file", b"x"), EXIT_0), tmp_path / "target", "")
    assert not list(outside.iterdir())


def test_a_file_takes_the_place_of_a_link_not_of_its_target(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"keep")
    (tmp_path / "file").symlink_to(secret)
    copy.get(Script(*file("", b"new"), EXIT_0), tmp_path / "file", "")
    assert secret.read_bytes() == b"keep" and (tmp_path / "file").read_bytes() == b"new"


def test_a_directory_that_became_a_link_is_not_finished_through_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    frames = [entry("", "directory", 0o755), entry("a", "directory", 0o777)]
    frames.append(entry("a", "link", 0o777, "../outside"))
    with pytest.raises(UserError):
        copy.get(Script(*frames, EXIT_0), tmp_path / "target", "")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


@pytest.mark.parametrize("path", ["../file", "/etc/file", "a/../../file"])
def test_a_path_stays_below(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadMessage):
        copy.get(Script(entry("", "directory", 0o755), *file(path, b"x"), EXIT_0), tmp_path / "target", "")


def test_a_wrong_checksum_is_seen(tmp_path: Path) -> None:
    frames = [entry(""), (Channel.DATA, b"x"), (Channel.END, CHECKSUM.pack(1)), EXIT_0]
    with pytest.raises(CopyFailed, match="checksum"):
        copy.get(Script(*frames), tmp_path / "file", "")


@pytest.mark.parametrize(
    "frames", [[(Channel.DATA, b"x")], [(Channel.END, b"")], [entry(""), entry("a")], [(Channel.STDOUT, b"")]]
)
def test_frames_out_of_place_are_refused(tmp_path: Path, frames: list[Frame]) -> None:
    with pytest.raises(CopyFailed, match="wrong place"):
        copy.get(Script(*frames, EXIT_0), tmp_path / "file", "")


def test_what_the_guest_says_is_told(tmp_path: Path) -> None:
    failed = Channel.EXIT, codec.encode(Exit(1, error="No space left on device"))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(CopyFailed, match="No space"):
        copy.put(Script(failed), tmp_path / "file")
    with pytest.raises(CopyFailed, match="No space"):
        copy.get(Script(failed), tmp_path / "other", "")


def test_a_machine_that_goes_away_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Gone):
        copy.put(Script(), tmp_path / "file")
    with pytest.raises(Gone):
        copy.get(Script(*file("", b"x")), tmp_path / "other", "")


def test_what_can_not_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        copy.put(Script(EXIT_0), tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither a file nor a directory"):
        copy.put(Script(EXIT_0), tmp_path / "pipe")
