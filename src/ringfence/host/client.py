"""The other end of a VMM process's control socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ringfence.api import codec
from ringfence.api.frames import FrameSocket
from ringfence.api.messages import ANSWER_LIMIT, Answer, Opened, Refused, Request
from ringfence.errors import RingfenceError

#: A VMM answers at once but for `Wait`, and `Pause` of a busy one.
ANSWER_SECONDS = 30.0
#: Who waits longer than this wants to know what for.
SHORT_SECONDS = 1.0


class Gone(RingfenceError):
    """There is no VMM process at the socket, or it went away before it answered."""


class NoAnswer(RingfenceError, TimeoutError):
    """The VMM process is there and has not answered in time: it may be stopped, or the host too busy."""


class Client:
    """A connection to one VMM process: requests one after the other, the last of them maybe a stream.

    Raises:
        Gone: nobody listens there.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        self._waiting = bytearray()
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise Gone(f"no machine listens at {path}: {error.strerror or error}") from error

    def ask(self, request: Request, timeout: float | None = ANSWER_SECONDS) -> Answer:
        """Raises:
        Refused: the VMM says no.
        Gone: it does not answer.
        NoAnswer: not in time.
        """
        self.send(request)
        return self.receive(timeout)

    def send(self, request: Request) -> None:
        """Ask, and fetch the answer later with `receive`.

        Raises:
            Gone: nobody is there.
        """
        try:
            self._socket.settimeout(ANSWER_SECONDS)
            self._socket.sendall(codec.encode(request))
        except TimeoutError as error:
            raise NoAnswer("the machine's process takes no requests") from error
        except OSError as error:
            raise Gone(f"the machine's process is gone: {error.strerror or error}") from error

    def receive(self, timeout: float | None = ANSWER_SECONDS) -> Answer:
        """The next answer; raises as `ask` does."""
        try:
            # 0 would be another thing: a socket that does not wait
            self._socket.settimeout(None if timeout is None else max(timeout, 0.001))
            line = self._read_line()
        except TimeoutError as error:
            raise NoAnswer("the machine's process has not answered in time") from error
        except OSError as error:
            raise Gone(f"the machine's process is gone: {error.strerror or error}") from error
        return codec.decode_answer(line)

    def open(
        self,
        request: Request,
        timeout: float = ANSWER_SECONDS,
        on_wait: Callable[[], object] = lambda: None,
    ) -> FrameSocket:
        """A stream; it ends with this connection. ``on_wait`` is called when that takes long.

        Raises:
            Refused: the VMM says no.
            Gone: it does not answer.
        """
        self.send(request)
        try:
            answer = self.receive(min(timeout, SHORT_SECONDS))
        except NoAnswer:
            on_wait()
            answer = self.receive(timeout)
        if not isinstance(answer, Opened):
            raise Refused("bad-message", f"the machine answered {answer.NAME!r} to {request.NAME!r}")
        self._socket.settimeout(None)
        return FrameSocket(self._socket, bytes(self._waiting))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_line(self) -> bytes:
        at = 0
        while (end := self._waiting.find(b"\n", at)) < 0:
            at = len(self._waiting)
            if at > ANSWER_LIMIT:
                raise Gone(f"the machine's answer is longer than {ANSWER_LIMIT} bytes")
            data = self._socket.recv(1 << 16)
            if not data:
                raise Gone("the machine's process went away before it answered")
            self._waiting += data
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 1]
        return line
