"""The guest's serial line from the host's side: what it printed, and what is typed to it.

Output comes on the vCPU's thread, a few bytes at a time, and wakes whoever waits in `expect`. Input is
handed to the UART as it has room. Both are bounded: of output that nobody reads the oldest is
dropped, and input waits in the sender.
"""

from __future__ import annotations

import codecs
import re
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ringfence.devices.clock import Alarm, Clock
from ringfence.errors import ExpectTimeout

#: Characters of output kept for `expect` and `read`, and as many again in `log`.
OUTPUT_LIMIT = 1 << 20
#: Pieces that are gathered before they are joined to the text.
PIECES_LIMIT = 4096
#: Bytes of input that may wait before `send` blocks.
INPUT_LIMIT = 1 << 16
#: How long output is gathered before the pattern is tried again: a guest prints byte by byte.
GATHER_SECONDS = 0.005
#: How soon a full UART is tried again, in guest time.
RETRY_NS = 2_000_000


class Port(Protocol):
    """A serial port: takes as many of these characters as it has room for."""

    def feed(self, data: bytes) -> int: ...


class Text:
    """The end of a stream of text that comes in small pieces: bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._text = ""
        self._pieces: list[str] = []

    def append(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= PIECES_LIMIT:
            self.join()

    def join(self) -> str:
        if self._pieces:
            self._text = (self._text + "".join(self._pieces))[-self._limit :]
            self._pieces.clear()
        return self._text

    def replace(self, text: str) -> None:
        self._text = text
        self._pieces.clear()


class Console:
    """Talk to a guest over its serial console.

    Example:
        >>> vm.console.expect("login:")
        >>> vm.console.send("root\\n")
    """

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        """``post`` runs work on the vCPU's thread."""
        self._post = post
        self._changed = threading.Condition()
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._unread = Text(OUTPUT_LIMIT)
        self._log = Text(OUTPUT_LIMIT)
        self._input = bytearray()
        self._is_closed = False
        self._port: Port | None = None
        self._clock: Clock | None = None
        self._retry: Alarm | None = None
        #: also gets every byte of output, on the vCPU's thread
        self.tee: Callable[[bytes], object] | None = None

    # -- for a reader --

    def expect(self, pattern: str | re.Pattern[str], timeout: float | None = 60.0) -> re.Match[str]:
        """Wait until ``pattern`` (a regular expression) appears in the output.

        Everything up to the end of the match is taken; the next call sees what follows.

        Args:
            pattern: searched with `re.search`.
            timeout: host seconds; None waits for ever.

        Raises:
            ExpectTimeout: it did not appear in time, or the machine ended without it.
        """
        compiled = re.compile(pattern)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                is_closed = self._is_closed
                text = self._unread.join()
                if match := compiled.search(text):
                    self._unread.replace(text[match.end() :])
                    return match
                left = None if deadline is None else deadline - time.monotonic()
                if is_closed or (left is not None and left <= 0):
                    why = "the machine ended without it" if is_closed else f"not seen in {timeout:g} s"
                    raise ExpectTimeout(f"console: {compiled.pattern!r}: {why}; last: {text[-200:]!r}")
                self._changed.wait(left)
            time.sleep(GATHER_SECONDS)

    def read(self) -> str:
        """What the guest printed since the last `expect` or `read`; does not wait."""
        with self._changed:
            text = self._unread.join()
            self._unread.replace("")
            return text

    @property
    def log(self) -> str:
        """All output of the machine, the oldest dropped beyond 1 Mi characters."""
        with self._changed:
            return self._log.join()

    def send(self, text: str | bytes) -> None:
        """Type ``text`` (UTF-8) on the guest's serial line. Waits while too much is untaken."""
        data = text.encode() if isinstance(text, str) else text
        for start in range(0, len(data), INPUT_LIMIT):
            piece = data[start : start + INPUT_LIMIT]
            with self._changed:
                while not self._is_closed and len(self._input) + len(piece) > INPUT_LIMIT:
                    self._changed.wait()
                self._input += piece
            self._post(self._pump)

    def __repr__(self) -> str:
        lines = self.log.splitlines()
        return f"<Console, last line {lines[-1]!r}>" if lines else "<Console, no output yet>"

    # -- for the machine --

    def attach(self, port: Port, clock: Clock) -> None:
        """The serial port of the board, again after each reboot."""
        self._port = port
        self._clock = clock
        self._retry = clock.alarm(self._pump)
        self._post(self._pump)

    def receive(self, data: bytes) -> None:
        """Output of the guest, on the vCPU's thread."""
        if self.tee is not None:
            self.tee(data)
        with self._changed:
            piece = self._decode(data)
            self._unread.append(piece)
            self._log.append(piece)
            self._changed.notify_all()

    def close(self) -> None:
        """The machine ended: nobody needs to wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _pump(self) -> None:
        """Hand waiting input to the port; what it has no room for, later."""
        with self._changed:
            if not self._input or self._port is None or self._clock is None or self._retry is None:
                return
            del self._input[: self._port.feed(bytes(self._input))]
            self._changed.notify_all()
            if self._input:
                self._retry.set(self._clock.now_ns() + RETRY_NS)
