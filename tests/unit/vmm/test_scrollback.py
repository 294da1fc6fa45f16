"""What a guest printed last: kept within bounds, for readers at their own pace."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ringfence.vmm.scrollback import LogWriter, Scrollback


def test_a_reader_sees_what_comes_after_it_and_what_it_asks_to_see_again() -> None:
    scrollback = Scrollback()
    scrollback.append(b"before ")
    new, old = scrollback.reader(), scrollback.reader(replay=3)
    scrollback.append(b"after")
    assert new.read() == b"after"
    assert old.read() == b"re after"


def test_a_slow_reader_loses_the_oldest() -> None:
    scrollback = Scrollback(limit=4)
    reader = scrollback.reader()
    for number in range(100):
        scrollback.append(b"%02d" % number)
    found = reader.read()
    assert found is not None and found.endswith(b"9899") and len(found) <= 8
    scrollback.append(b"next")
    assert reader.read() == b"next"


def test_a_limit_cuts_and_the_rest_follows() -> None:
    scrollback = Scrollback()
    reader = scrollback.reader()
    scrollback.append(b"abcdef")
    assert [reader.read(4), reader.read(4)] == [b"abcd", b"ef"]


def test_the_end_comes_after_the_last_byte() -> None:
    scrollback = Scrollback()
    reader = scrollback.reader()
    scrollback.append(b"last")
    scrollback.close()
    assert [reader.read(), reader.read()] == [b"last", None]


def test_closing_wakes_its_reader_alone() -> None:
    scrollback = Scrollback()
    reader, other = scrollback.reader(), scrollback.reader()
    threading.Timer(0.05, reader.close).start()
    assert reader.read() is None
    scrollback.append(b"x")
    assert other.read() == b"x"


@pytest.mark.parametrize("limit", [1000, 64])
def test_the_log_keeps_the_last_lines(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "console.log"
    scrollback = Scrollback()
    writer = LogWriter(scrollback, os.open(path, os.O_RDWR | os.O_CREAT), limit)
    lines = [b"line %02d\n" % number for number in range(50)]
    for start in range(0, 50, 5):
        scrollback.append(b"".join(lines[start : start + 5]))
        while not path.read_bytes().endswith(lines[start + 4]):
            pass
    scrollback.close()
    writer.join(5)
    found = path.read_bytes()
    assert b"".join(lines).endswith(found) and found.startswith(b"line ")
    assert (found == b"".join(lines)) == (limit == 1000)
    assert len(found) <= limit
