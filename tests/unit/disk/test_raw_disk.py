"""Raw images: data, holes, locks, and one clear line for what can't be used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ringfence.disk import raw
from ringfence.disk.raw import RawDisk
from ringfence.errors import DiskBusy, HostError, ImageError, UserError
from ringfence.units import MIB

SIZE = 4 * MIB


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\xaa" * SIZE)
    return path


def _read(disk: RawDisk, offset: int, *sizes: int) -> bytes:
    buffers = [memoryview(bytearray(size)) for size in sizes]
    disk.read(offset, buffers)
    return b"".join(buffers)


def test_reads_and_writes_vectors(image: Path) -> None:
    with RawDisk(image) as disk:
        assert (disk.size_bytes, disk.is_read_only) == (SIZE, False)
        disk.write(512, [memoryview(b"ab" * 100), memoryview(b"c" * 312)])
        disk.flush()
        assert _read(disk, 510, 3, 1, 400) == (b"\xaa\xaa" + b"ab" * 100 + b"c" * 312)[:404]
    assert image.read_bytes()[512:1024] == b"ab" * 100 + b"c" * 312


def test_more_buffers_than_one_system_call_takes(image: Path) -> None:
    with RawDisk(image) as disk:
        data = bytes(n % 251 for n in range(1500 * 3))
        disk.write(0, [memoryview(data)[n : n + 3] for n in range(0, len(data), 3)])
        assert _read(disk, 0, *[3] * 1500) == data


def test_short_transfers_are_continued(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(fd: int, buffers: list[memoryview], offset: int) -> int:
        return os.pwrite(fd, buffers[0][:5], offset)

    monkeypatch.setattr(raw.os, "pwritev", short)
    with RawDisk(image) as disk:
        disk.write(100, [memoryview(b"0123456"), memoryview(b"789")])
        assert _read(disk, 99, 12) == b"\xaa0123456789\xaa"


def test_discard_gives_space_back(image: Path) -> None:
    before = image.stat().st_blocks
    with RawDisk(image) as disk:
        disk.discard(MIB, MIB)
        assert _read(disk, MIB - 1, 3) == b"\xaa\0\0"
        assert _read(disk, 2 * MIB - 1, 2) == b"\0\xaa"
    assert image.stat().st_size == SIZE
    assert image.stat().st_blocks < before


@pytest.mark.parametrize("may_unmap", [False, True])
@pytest.mark.parametrize("has_fallocate", [False, True])
def test_write_zeroes(
    image: Path, monkeypatch: pytest.MonkeyPatch, may_unmap: bool, has_fallocate: bool
) -> None:
    if not has_fallocate:
        monkeypatch.setattr(RawDisk, "_fallocate", lambda *_: False)
    with RawDisk(image) as disk:
        disk.write_zeroes(512, 2 * MIB + 512, may_unmap)
    data = image.read_bytes()
    assert data[:512] == b"\xaa" * 512
    assert not any(data[512 : 2 * MIB + 1024])
    assert set(data[2 * MIB + 1024 :]) == {0xAA}
    assert len(data) == SIZE


def test_a_writable_image_has_one_user(image: Path) -> None:
    disk = RawDisk(image)
    for is_read_only in (False, True):
        with pytest.raises(DiskBusy, match="in use"):
            RawDisk(image, is_read_only)
    disk.close()
    disk.close()
    RawDisk(image).close()


def test_readers_share(image: Path) -> None:
    with RawDisk(image, is_read_only=True), RawDisk(image, is_read_only=True), pytest.raises(DiskBusy):
        RawDisk(image)


def test_a_read_only_image_stays_as_it_is(image: Path) -> None:
    with RawDisk(image, is_read_only=True) as disk:
        assert disk.is_read_only
        with pytest.raises(HostError):
            disk.write(0, [memoryview(b"x")])


def test_an_image_that_shrinks_is_a_host_error(image: Path) -> None:
    with RawDisk(image) as disk:
        os.truncate(image, 1024)
        with pytest.raises(HostError, match="shorter"):
            _read(disk, 512, 1024)


def test_a_full_host_is_a_host_error(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(raw.os, "pwritev", full)
    monkeypatch.setattr(raw.os, "fdatasync", full)
    with RawDisk(image) as disk:
        with pytest.raises(HostError, match="No space"):
            disk.write(0, [memoryview(b"x")])
        with pytest.raises(HostError, match="No space"):
            disk.flush()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"x" * 513, "513 bytes, not a multiple"), (None, "no disk image")],
)
def test_unusable_images(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.img"
    if content is not None:
        path.write_bytes(content)
    for is_read_only in (False, True):
        with pytest.raises(ImageError, match=message) as caught:
            RawDisk(path, is_read_only)
        assert "\n" not in str(caught.value)
    assert path.exists() == (content is not None)


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="directory"):
        RawDisk(tmp_path)
    with pytest.raises(ImageError, match=r"directory|neither"):
        RawDisk(tmp_path, is_read_only=True)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ImageError, match="neither"):
        RawDisk(tmp_path / "fifo")
    with pytest.raises(ImageError, match="neither"):
        RawDisk("/dev/null")


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EROFS, "x")]
)
def test_an_unwritable_image_says_how_to_use_it(
    image: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(raw.os, "open", refuse)
    with pytest.raises(UserError, match=",ro"):
        RawDisk(image)


def test_a_refused_image_is_closed(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ImageError):
        RawDisk(tmp_path / "empty.img")
    assert len(os.listdir("/proc/self/fd")) == before
