"""A program in the guest on this terminal: its streams, its window's size, the signals that come here."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType

from ringfence.api import codec
from ringfence.api.frames import SIZE, Channel, FrameSocket
from ringfence.api.messages import Exit
from ringfence.host.client import Gone
from ringfence.host.process import Input

READ_BYTES = 1 << 16
#: Handed to the program where it has no terminal of its own to make them.
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def window_size() -> tuple[int, int]:
    """Rows and columns of the user's terminal. Shells export LINES and COLUMNS, which don't follow it."""
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(fd)
            if found.lines and found.columns:
                return found.lines, found.columns
    found = shutil.get_terminal_size()
    return found.lines, found.columns


class Session:
    """Carries a program's streams until it ends.

    Args:
        with_input: pass standard input on.
        with_tty: the program has a terminal; where ours is one too, it is raw meanwhile.
    """

    def __init__(self, stream: FrameSocket, with_input: bool, with_tty: bool) -> None:
        self._stream = stream
        self._input = Input(stream)
        self._stdin = _fileno(sys.stdin) if with_input else -1
        self._with_tty = with_tty
        self._pending: list[int] = []

    def run(self) -> Exit:
        """Raises:
        Gone: the machine went away before the program ended.
        """
        with self._raw(), self._signals() as woken:
            while True:
                for number in self._pending[:]:
                    self._pending.remove(number)
                    self._pass_signal(number)
                ready = self._wait(woken)
                if woken in ready:
                    os.read(woken, 4096)
                if self._stdin in ready:
                    self._pass_input()
                if self._stream.is_ready or self._stream.fileno() in ready:
                    exit_ = self._take_frames()
                    if exit_ is not None:
                        return exit_

    def _wait(self, woken: int) -> set[int]:
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        poll.register(woken, select.POLLIN)
        if self._stdin >= 0 and self._input.room:
            poll.register(self._stdin, select.POLLIN)
        return {fd for fd, _ in poll.poll(0 if self._stream.is_ready else None)}

    def _take_frames(self) -> Exit | None:
        while True:
            frame = self._stream.receive()
            if frame is None:
                raise Gone("the machine went away before the program's end")
            channel, payload = frame
            if channel is Channel.EXIT:
                return codec.decode_exit(payload)
            if channel is Channel.WINDOW:
                self._input.widen(payload)
            elif channel is Channel.STDOUT:
                _write(1, payload)
            elif channel is Channel.STDERR:
                _write(2, payload)
            if not self._stream.is_ready:
                return None

    def _pass_input(self) -> None:
        try:
            data = os.read(self._stdin, min(READ_BYTES, self._input.room))
        except OSError:
            data = b""  # a terminal that hung up
        with contextlib.suppress(OSError):  # the program has ended, and its EXIT is on its way
            if data:
                self._input.write(data)
            else:
                self._input.end()
        if not data:
            self._stdin = -1

    def _pass_signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            if number == signal.SIGWINCH:
                self._stream.send(Channel.RESIZE, SIZE.pack(*window_size()))
            else:
                self._stream.send(Channel.SIGNAL, bytes([number]))

    @contextlib.contextmanager
    def _raw(self) -> Iterator[None]:
        if not self._with_tty or self._stdin < 0 or not os.isatty(self._stdin):
            yield
            return
        fd = self._stdin
        before = termios.tcgetattr(fd)
        tty.setraw(fd, termios.TCSADRAIN)
        try:
            yield
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """Signals are kept for the loop, which a byte in the pipe wakes."""
        wanted = [*FORWARDED, *([signal.SIGWINCH] if self._with_tty else [])]
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, self._keep) for number in wanted}
        old = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(woken)
            os.close(wake)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._pending.append(number)


def _fileno(stream: object) -> int:
    """-1 where the process was started without it."""
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return -1


def _write(fd: int, data: bytes) -> None:
    """All of it.

    Raises:
        BrokenPipeError: nobody reads it any more.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # a descriptor shared with somebody who set O_NONBLOCK
            select.select([], [fd], [])
