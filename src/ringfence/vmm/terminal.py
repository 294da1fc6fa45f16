"""The user's terminal as the guest's: raw mode while the guest runs, and always undone.

In raw mode every key goes to the guest, Ctrl-C too; Ctrl-] leaves. Where standard input is no
terminal (a pipe, a file, closed) its bytes go to the guest as they are, and its end means only
that nothing more is typed.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable
from types import TracebackType

#: Ctrl-], as telnet has it.
LEAVE = b"\x1d"
READ_BYTES = 4096
#: How long the reader may take to end; one that is held up in `send` is left behind.
JOIN_SECONDS = 1.0


def _fileno(stream: object) -> int | None:
    """The stream's descriptor; None when the process was started with it closed."""
    try:
        fd = stream.fileno()  # type: ignore[attr-defined]
        os.fstat(fd)
    except (AttributeError, OSError, ValueError):
        return None
    return int(fd)


class Terminal:
    """Carries bytes between the user's terminal and a guest, while entered.

    Args:
        send: takes what the user typed; may block.
        on_leave: the user typed Ctrl-], or nobody reads the output any more.
    """

    def __init__(self, send: Callable[[bytes], object], on_leave: Callable[[], object]) -> None:
        self._send = send
        self._on_leave = on_leave
        self._stdin = _fileno(sys.stdin)
        self._stdout = _fileno(sys.stdout)
        self._is_tty = self._stdin is not None and os.isatty(self._stdin)
        self._saved: list[object] | None = None
        self._is_released = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._carry_input, name="terminal", daemon=True)

    @property
    def is_interactive(self) -> bool:
        return self._is_tty

    def __enter__(self) -> Terminal:
        if self._is_tty and self._stdin is not None:
            self._saved = termios.tcgetattr(self._stdin)
            tty.setraw(self._stdin, termios.TCSADRAIN)
        if self._stdin is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
        os.close(self._wake_read)
        if self._saved is not None and self._stdin is not None:
            termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None

    def release(self) -> None:
        """Stop carrying: nobody waits for a slow reader or a typist any more. Any thread; twice is once."""
        if not self._is_released:
            self._is_released = True
            os.close(self._wake_write)  # whoever waits sees its end

    def write(self, data: bytes) -> None:
        """Output of the guest, unbuffered; waits for a slow reader, as the guest then must."""
        while data and self._stdout is not None and not self._is_released:
            try:
                # A pipe that select() calls writable takes this much without blocking.
                select.select([self._wake_read], [self._stdout], [])
                if not self._is_released:
                    data = data[os.write(self._stdout, data[: select.PIPE_BUF]) :]
            except BlockingIOError:  # a descriptor shared with somebody who set O_NONBLOCK
                continue
            except OSError:
                self._stdout = None
                self._on_leave()

    def _carry_input(self) -> None:
        assert self._stdin is not None
        try:
            while True:
                ready, _, _ = select.select([self._stdin, self._wake_read], [], [])
                if self._wake_read in ready:
                    return
                data = os.read(self._stdin, READ_BYTES)
                before, leave, _ = data.partition(LEAVE) if self._is_tty else (data, b"", b"")
                if before:
                    self._send(before)
                if leave:
                    self.release()
                    self._on_leave()
                    return
                if not data:
                    return
        except OSError:
            return  # the terminal is gone (hang-up): the guest runs on without a typist
