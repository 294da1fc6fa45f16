"""What a guest printed last, for readers that come and go: the log file and each attached console.

The vCPU's thread appends and never waits. A reader that falls behind by more than the limit loses the oldest.
"""

from __future__ import annotations

import os
import threading
import time

#: Bytes that are kept for readers.
LIMIT = 1 << 20
#: A console's log file is cut to its last half when it is this long.
LOG_LIMIT = 8 << 20
#: How long output is gathered before it is handed on: a guest prints byte by byte.
GATHER_SECONDS = 0.004


class Scrollback:
    """The end of a stream of bytes, by position from its start."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._kept = bytearray()
        self._end = 0
        self._is_closed = False

    def append(self, data: bytes) -> None:
        with self._changed:
            self._kept += data
            self._end += len(data)
            if len(self._kept) > 2 * self._limit:
                del self._kept[: -self._limit]
            self._changed.notify_all()

    def reader(self, replay: int = 0) -> Reader:
        """One that gets the last ``replay`` bytes first."""
        with self._changed:
            start = max(self._end - max(replay, 0), self._end - len(self._kept))
        return Reader(self, start)

    def close(self) -> None:
        """There is no more to come."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class Reader:
    """One reader's place in a scrollback."""

    def __init__(self, scrollback: Scrollback, position: int) -> None:
        self._scrollback = scrollback
        self._position = position
        self._is_closed = False

    def read(self, limit: int = LIMIT) -> bytes | None:
        """What comes next, soon after there is some; None when there is no more, or after `close`."""
        source = self._scrollback
        with source._changed:
            source._changed.wait_for(
                lambda: source._end > self._position or source._is_closed or self._is_closed
            )
        time.sleep(GATHER_SECONDS)
        with source._changed:
            left = source._end - self._position
            if self._is_closed or not left:
                return None
            start = max(len(source._kept) - left, 0)
            data = bytes(source._kept[start : start + limit])
            self._position = source._end - (len(source._kept) - start) + len(data)
            return data

    def close(self) -> None:
        """From any thread: who waits in `read` does so no more."""
        with self._scrollback._changed:
            self._is_closed = True
            self._scrollback._changed.notify_all()


class LogWriter:
    """Writes a scrollback to a file of bounded length, on a thread of its own, until it is closed.

    Args:
        fd: open for reading and writing; closed at the end.
    """

    def __init__(self, scrollback: Scrollback, fd: int, limit: int = LOG_LIMIT) -> None:
        self._reader = scrollback.reader(LIMIT)
        self._fd = fd
        self._limit = limit
        self._thread = threading.Thread(target=self._write, name="console log", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _write(self) -> None:
        length = os.fstat(self._fd).st_size
        try:
            while (data := self._reader.read()) is not None:
                length += os.pwrite(self._fd, data, length)
                if length > self._limit:
                    length = self._cut(length)
        except OSError:
            pass  # a full disk costs the log, not the machine
        finally:
            os.close(self._fd)

    def _cut(self, length: int) -> int:
        """Keep the last half, from the start of a line."""
        kept = os.pread(self._fd, self._limit // 2, length - self._limit // 2)
        kept = kept[kept.find(b"\n") + 1 :]
        os.ftruncate(self._fd, 0)
        return os.pwrite(self._fd, kept, 0)
