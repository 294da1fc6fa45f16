"""One stream to the guest's agent: a request, bytes both ways, and its end.

The guest's side runs on the vCPU's thread (`Connection`), the user's on any other. What waits is bounded both
ways: input by `INPUT_WAITS`, output by the window that the agent was given, and an agent that sends more than
it may has broken the protocol.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from ringfence.agent import wire
from ringfence.agent.wire import Done, Type

#: Input that waits here for a guest that does not take it.
INPUT_WAITS = 256 << 10
#: Passes a frame on to the guest.
Send = Callable[[bytes], None]


class Stream:
    """``lock`` is the connection's."""

    def __init__(self, number: int, lock: threading.RLock, send: Send) -> None:
        self.number = number
        self._send = send
        self._changed = threading.Condition(lock)
        self._credit = wire.INPUT_WINDOW
        self._pending = bytearray()
        self._is_input_ended = False
        self._output = {wire.OUT: bytearray(), wire.ERR: bytearray()}
        self._allowed = dict.fromkeys(self._output, wire.OUTPUT_WINDOW)
        self._ended: set[int] = set()
        self._taken_input = 0
        self._done: Done | None = None
        self._is_abandoned = False
        #: the agent went away, and `done` is what we made of it
        self.is_broken = False

    # -- to the guest --

    def submit(self, data: bytes) -> None:
        """Send ``data`` when the guest has room; does not wait."""
        with self._changed:
            if self._done is None and not self._is_input_ended:
                self._pending += data
                self._advance()

    def write(self, data: bytes, timeout: float | None = None) -> bool:
        """The same, but waits while `INPUT_WAITS` bytes or more wait; False when the stream has ended.

        Raises:
            TimeoutError: the guest took nothing for so long.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._done is not None or len(self._pending) < INPUT_WAITS, timeout
            ):
                raise TimeoutError
            self.submit(data)
            return self._done is None

    def end_input(self) -> None:
        """No more input follows."""
        with self._changed:
            if not self._is_input_ended:
                self._is_input_ended = True
                if not self._pending:
                    self._tell(Type.END, channel=wire.IN)

    @property
    def pending_bytes(self) -> int:
        return len(self._pending)

    def signal(self, number: int) -> None:
        self._tell(Type.SIGNAL, bytes([number & 0x7F]))

    def resize(self, rows: int, columns: int) -> None:
        self._tell(Type.RESIZE, wire.resize(rows, columns))

    def cancel(self) -> None:
        """Have the agent give it up; `done` follows."""
        self._tell(Type.CANCEL)

    def abandon(self) -> None:
        """Nobody reads any more: what comes is dropped, so that the guest's side is not stuck."""
        with self._changed:
            self._is_abandoned = True
            for channel in self._output:
                self._take(channel, -1)
            self._changed.notify_all()

    def _tell(self, type: Type, payload: bytes = b"", channel: int = 0) -> None:
        with self._changed:
            if self._done is None:
                self._send(wire.frame(self.number, type, payload, channel))

    def _advance(self) -> None:
        """Send as much of what waits as the agent has room for."""
        while self._pending and self._credit:
            piece = bytes(self._pending[: min(self._credit, wire.DATA_MAX)])
            del self._pending[: len(piece)]
            self._credit -= len(piece)
            self._taken_input += len(piece)
            self._send(wire.frame(self.number, Type.DATA, piece, wire.IN))
            if not self._pending and self._is_input_ended:
                self._send(wire.frame(self.number, Type.END, channel=wire.IN))
        self._changed.notify_all()

    # -- from the guest --

    @property
    def done(self) -> Done | None:
        """How it ended; None before that."""
        return self._done

    def wait(self, timeout: float | None = None) -> Done:
        """Raises:
        TimeoutError: it has not ended.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._done is not None, timeout):
                raise TimeoutError
            assert self._done is not None
            return self._done

    def read(self, channel: int, n: int = -1, timeout: float | None = None) -> bytes:
        """What the guest has sent, ``n`` bytes at most; waits for the first. Empty at the end.

        Raises:
            TimeoutError: nothing came.
        """
        output = self._output[channel]
        with self._changed:
            if not self._changed.wait_for(
                lambda: output or channel in self._ended or self._done is not None, timeout
            ):
                raise TimeoutError
            return self._take(channel, n)

    def poll(self, timeout: float | None = None) -> tuple[str, int, bytes] | None:
        """The next thing that happened: ``data`` of a channel, ``end`` of one, ``room`` for as many bytes of
        input, ``done``. None when nothing did in time, or it was abandoned."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._is_abandoned and (event := self._next_event()) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            return None if self._is_abandoned else event

    def _next_event(self) -> tuple[str, int, bytes] | None:
        for channel, output in self._output.items():
            if output:
                return "data", channel, self._take(channel, wire.DATA_MAX)
        for channel in (wire.OUT, wire.ERR):
            if channel in self._ended:
                self._ended.discard(channel)
                return "end", channel, b""
        if self._done is not None:
            return "done", 0, b""
        if self._taken_input:
            taken, self._taken_input = self._taken_input, 0
            return "room", taken, b""
        return None

    def _take(self, channel: int, n: int) -> bytes:
        output = self._output[channel]
        piece = bytes(output if n < 0 else output[:n])
        del output[: len(piece)]
        # What the agent still may send and what waits here make up the window; tell it in large steps.
        missing = wire.OUTPUT_WINDOW - self._allowed[channel] - len(output)
        if missing >= wire.OUTPUT_WINDOW // 4 and self._done is None:
            self._allowed[channel] += missing
            self._send(wire.frame(self.number, Type.WINDOW, wire.window(missing), channel))
        return piece

    # -- the connection, with the lock held; False: this is against the protocol --

    def take_frame(self, frame: wire.Frame) -> bool:
        if frame.type == Type.DATA:
            return self._take_data(frame.channel, frame.payload)
        if frame.type == Type.END:
            if frame.channel not in self._output:
                return False
            self._ended.add(frame.channel)
        elif frame.type == Type.WINDOW:
            room = wire.parse_window(frame.payload)
            if room is None:
                return False
            # More than the window is nothing that an agent may give; it would only make our queue long.
            self._credit = min(self._credit + room, wire.INPUT_WINDOW)
            self._advance()
        elif frame.type == Type.DONE:
            done = wire.parse_done(frame.payload)
            if done is None:
                return False
            self.finish(done)
        else:
            return False
        self._changed.notify_all()
        return True

    def _take_data(self, channel: int, data: bytes) -> bool:
        allowed = self._allowed.get(channel, 0)
        if not data or len(data) > allowed:
            return False
        self._allowed[channel] = allowed - len(data)
        self._output[channel] += data
        if self._is_abandoned:
            self._take(channel, -1)
        self._changed.notify_all()
        return True

    def finish(self, done: Done) -> None:
        if self._done is None:
            self._done = done
            self._pending.clear()
            self._changed.notify_all()


def failure(stream: Stream, done: Done, what: str = "") -> str:
    """One line for an errno of the guest's."""
    if stream.is_broken:
        return "the guest's agent went away"
    why = os.strerror(done.value) if 0 < done.value < 200 else f"error {done.value}"
    return f"{what or 'the agent'} (in the guest): {why}"
