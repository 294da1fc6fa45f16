"""A program that runs in the guest: its streams as Python has them, and as frames for a front end."""

from __future__ import annotations

import time
from collections.abc import Callable

from ringfence.agent import wire
from ringfence.api import codec, frames
from ringfence.api.frames import BadFrame, Channel, Frame
from ringfence.api.messages import Exit
from ringfence.errors import AgentError
from ringfence.vmm.agent.stream import Stream, failure

SIGHUP = 1
#: Output that `Process.communicate` keeps.
OUTPUT_LIMIT = 256 << 20
_CANNOT_RUN = 126


class Output:
    """What the program writes to one of its streams."""

    def __init__(self, stream: Stream, channel: int) -> None:
        self._stream = stream
        self._channel = channel

    def read(self, n: int = -1, timeout: float | None = None) -> bytes:
        """Up to ``n`` bytes; waits for the first. Without ``n`` all until its end. Empty at the end.

        Raises:
            TimeoutError: nothing came.
        """
        if n >= 0:
            return self._stream.read(self._channel, n, timeout)
        pieces = []
        while piece := self._stream.read(self._channel, -1, timeout):
            pieces.append(piece)
        return b"".join(pieces)


class Input:
    """What the program reads."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Waits while the program does not read. What it never reads is lost.

        Raises:
            TimeoutError: it took nothing.
        """
        for start in range(0, len(data), wire.DATA_MAX):
            self._stream.write(data[start : start + wire.DATA_MAX], timeout)

    def close(self) -> None:
        self._stream.end_input()


class Process:
    """A program in the guest.

    Attributes:
        stdin, stdout, stderr: its streams; with a terminal all output is ``stdout``.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.stdin = Input(stream)
        self.stdout = Output(stream, wire.OUT)
        self.stderr = Output(stream, wire.ERR)

    @property
    def returncode(self) -> int | None:
        """Its exit status, ``-n`` after signal n; None while it runs."""
        done = self._stream.done
        return None if done is None else self._code(done)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its return code.

        Raises:
            TimeoutError: it still runs.
            AgentError: the agent could not start it, or went away.
        """
        return self._code(self._stream.wait(timeout))

    def communicate(self, input: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Give it all its input, and take all its output and errors.

        Raises:
            TimeoutError: it still ran, and was killed.
            AgentError: it wrote more than `OUTPUT_LIMIT`, and was killed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        written = {wire.OUT: bytearray(), wire.ERR: bytearray()}
        self._stream.submit(input)
        self._stream.end_input()
        while True:
            event = self._stream.poll(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if event is None:
                self.kill()
                raise TimeoutError(f"the program still ran after {timeout:g} s")
            kind, channel, data = event
            if kind == "done":
                return bytes(written[wire.OUT]), bytes(written[wire.ERR])
            if kind == "data":
                written[channel] += data
            if sum(map(len, written.values())) > OUTPUT_LIMIT:
                self.kill()
                raise AgentError(f"the program wrote more than {OUTPUT_LIMIT >> 20} MiB: use start()")

    def _code(self, done: wire.Done) -> int:
        if done.how == wire.FAILED:
            raise AgentError(failure(self._stream, done))
        return -done.value if done.how == wire.KILLED else done.value & 0xFF

    def signal(self, number: int) -> None:
        """Send a signal to it and its children."""
        self._stream.signal(number)

    def resize(self, rows: int, columns: int) -> None:
        """Tell it its terminal's size."""
        self._stream.resize(rows, columns)

    def kill(self) -> None:
        self._stream.cancel()


class ExecFrames:
    """A `Duplex` for a front end: the same program as frames.

    Input that the agent has no room for waits here, `frames.FIRST_WINDOW` bytes at most.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._is_over = False  # EXIT has been given
        self._handlers: dict[Channel, Callable[[bytes], None]] = {
            Channel.STDIN: self._input,
            Channel.EOF: lambda payload: stream.end_input(),
            Channel.SIGNAL: self._signal,
            Channel.RESIZE: self._resize,
        }

    def send(self, channel: Channel, payload: bytes) -> None:
        """Raises:
        BadFrame: no frame for a program, or more input than there is a window for.
        """
        handler = self._handlers.get(channel)
        if handler is None:
            raise BadFrame(f"a program takes no {channel.name} frame")
        handler(payload)

    def _input(self, payload: bytes) -> None:
        if self._stream.pending_bytes + len(payload) > frames.FIRST_WINDOW:
            raise BadFrame("more input than the window lets through")
        self._stream.submit(payload)

    def _signal(self, payload: bytes) -> None:
        if len(payload) != 1:
            raise BadFrame("a signal is one byte")
        self._stream.signal(payload[0])

    def _resize(self, payload: bytes) -> None:
        if len(payload) != frames.SIZE.size:
            raise BadFrame("a size is four bytes")
        self._stream.resize(*frames.SIZE.unpack(payload))

    def receive(self) -> Frame | None:
        if self._is_over:
            return None
        event = self._stream.poll()
        if event is None:
            return None
        kind, value, data = event
        if kind == "data":
            return (Channel.STDOUT if value == wire.OUT else Channel.STDERR), data
        if kind == "end":
            return Channel.EOF, bytes([Channel.STDOUT if value == wire.OUT else Channel.STDERR])
        if kind == "room":
            return Channel.WINDOW, frames.WINDOW.pack(value)
        self._is_over = True
        return Channel.EXIT, codec.encode(self._exit())

    def _exit(self) -> Exit:
        done = self._stream.done
        assert done is not None
        if done.how == wire.FAILED:
            return Exit(_CANNOT_RUN, error=failure(self._stream, done))
        if done.how == wire.KILLED:
            number = done.value & 0x7F
            return Exit(128 + number, signal=number)
        return Exit(done.value & 0xFF)

    def close(self) -> None:
        """Gives the program SIGHUP, and up."""
        self._stream.signal(SIGHUP)
        self._stream.abandon()
