"""The control socket of one VMM process: who may connect, how much they may ask, and one thread for each.

The messages are in api/messages.py; what is done with them is `vmm.requests`. A peer is of the same user (or
root), by the kernel's word (SO_PEERCRED), and yet gets bounds: on connections, on a request's length.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ringfence.api import codec
from ringfence.api.frames import BadFrame, Channel, Duplex, FrameSocket
from ringfence.api.messages import (
    REQUEST_LIMIT,
    Answer,
    BadMessage,
    Failed,
    Message,
    Opened,
    Refused,
    Request,
    Wait,
)
from ringfence.errors import HostError, RingfenceError
from ringfence.log import logger

CONNECTIONS_LIMIT = 64
#: How long who has just connected may take to ask, when the machine has ended meanwhile.
ASK_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")


class Requests(Protocol):
    """What answers."""

    def answer(self, request: Request) -> Answer | Duplex:
        """An answer, or what a stream is connected to.

        Raises:
            RingfenceError: the request is not granted; `Refused` where there is a word for why.
        """
        ...


class Server:
    """Listens at a path from `start` to `close`.

    Args:
        path: the socket's; what is there already is replaced.
        requests: answers them, on any thread.
        wait: what answers `Wait` once the machine has ended.
    """

    def __init__(self, path: Path, requests: Requests, wait: Callable[[], Answer]) -> None:
        self._path = path
        self._requests = requests
        self._wait = wait
        self._open: dict[int, tuple[socket.socket, threading.Thread]] = {}
        self._lock = threading.Lock()
        self._ended_read, self._ended_write = os.pipe2(os.O_CLOEXEC)
        self._listener = listen(path)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        #: connections that were turned away
        self.refused = 0

    def start(self) -> None:
        self._thread.start()

    def end(self, seconds: float) -> None:
        """The machine has ended: tell who waits, let streams run out, then close all."""
        os.close(self._ended_write)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._path.unlink(missing_ok=True)
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()
        timer = threading.Timer(seconds, self._hang_up)
        timer.daemon = True
        timer.start()
        for _, thread in list(self._open.values()):
            thread.join(seconds + 1)
        timer.cancel()

    def _hang_up(self) -> None:
        with self._lock:
            for connection, _ in self._open.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not is_allowed(connection) or len(self._open) >= CONNECTIONS_LIMIT:
                self.refused += 1
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True)
            with self._lock:
                self._open[connection.fileno()] = connection, thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        number = connection.fileno()
        try:
            Conversation(connection, self._requests, self._wait, self._ended_read).run()
        except OSError:
            pass  # the peer went away, which is its right
        except Exception:
            logger.exception("a connection to the control socket failed")
        finally:
            with self._lock:
                del self._open[number]
                connection.close()


class Conversation:
    """One connection: requests one after the other, until one opens a stream."""

    def __init__(
        self, connection: socket.socket, requests: Requests, wait: Callable[[], Answer], ended: int
    ) -> None:
        self._socket = connection
        self._requests = requests
        self._wait = wait
        self._ended = ended
        self._waiting = bytearray()
        self._has_asked = False

    def run(self) -> None:
        while (line := self._read_line()) is not None:
            self._has_asked = True
            answer = self._answer(line)
            if isinstance(answer, Message):
                self._socket.sendall(codec.encode(answer))
            elif answer is not None:
                self._socket.sendall(codec.encode(Opened()))
                carry(FrameSocket(self._socket, bytes(self._waiting)), answer)
                return

    def _answer(self, line: bytes) -> Answer | Duplex | None:
        try:
            request = codec.decode_request(line)
            if isinstance(request, Wait):
                return self._wait() if self._has_ended() else None
            return self._requests.answer(request)
        except BadMessage as error:
            return Failed("bad-message", str(error))
        except Refused as error:
            return Failed(error.kind, str(error))
        except RingfenceError as error:
            return Failed("failed", str(error))

    def _has_ended(self) -> bool:
        """Wait for the machine's end; False where the peer does not wait any more."""
        return self._ended in wait_readable(self._ended, self._socket.fileno())

    def _read_line(self) -> bytes | None:
        """The next request; None when the peer has no more, or one that is too long."""
        at = 0
        while (end := self._waiting.find(b"\n", at)) < 0:
            at = len(self._waiting)
            if at > REQUEST_LIMIT:
                self._socket.sendall(codec.encode(Failed("bad-message", "the request is too long")))
                return None
            ready = wait_readable(self._ended, self._socket.fileno())
            if not self._has_asked and self._socket.fileno() not in ready:
                ready = wait_readable(self._socket.fileno(), seconds=ASK_SECONDS)
            data = self._socket.recv(1 << 16) if self._socket.fileno() in ready else b""
            if not data:
                return None
            self._waiting += data
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 1]
        return line


def listen(path: Path) -> socket.socket:
    """Raises:
    HostError: there can't be a socket.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        # Nobody may connect in the moment between bind and chmod: the file is made without any right.
        before = os.umask(0o777)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(0o600)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise HostError(f"cannot listen at {path}: {error.strerror or error}") from error
    return listener


def wait_readable(*fds: int, seconds: float | None = None) -> set[int]:
    """Those of the descriptors where something is to be read, or that have ended; none when time is up."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}


def is_allowed(connection: socket.socket) -> bool:
    """The peer is of this process's user, or root."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid in (os.geteuid(), 0)


def carry(peer: FrameSocket, stream: Duplex) -> None:
    """Frames both ways until either side has no more."""
    inwards = threading.Thread(target=_carry_in, args=(peer, stream), name="stream", daemon=True)
    inwards.start()
    try:
        while (frame := stream.receive()) is not None:
            peer.send(*frame)
            if frame[0] is Channel.EXIT:
                break
    except OSError:
        pass  # the peer reads no more
    except RingfenceError as error:
        logger.warning("control socket: a stream broke off: %s", error)
    finally:
        peer.close()
        stream.close()
        inwards.join()


def _carry_in(peer: FrameSocket, stream: Duplex) -> None:
    try:
        while (frame := peer.receive()) is not None:
            stream.send(*frame)
    except (OSError, RingfenceError) as error:
        if isinstance(error, BadFrame):
            logger.warning("control socket: %s", error)
    finally:
        stream.close()
