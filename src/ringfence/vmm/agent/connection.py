"""The host's end of the agent's port: frames in and out, and which streams there are.

Frames from the guest come on the vCPU's thread and end in a stream's buffers; frames to it wait in one
bounded queue and are handed to the device as it has room. When the port closes, or the agent breaks the
protocol, all streams end; with the next HELLO it starts afresh. The device gets whole frames only, so the
agent always finds where one begins.
"""

from __future__ import annotations

import errno
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from ringfence.agent import wire
from ringfence.agent.wire import Type
from ringfence.errors import AgentError
from ringfence.vmm.agent.stream import Stream

#: Frames that wait for a guest that takes none; windows keep an honest one far below.
FRAMES_MAX = 4096
NO_AGENT = "no agent answers in the guest: exec and cp need ringfence-agent there, ssh does not"
#: What a stream ends with when the agent goes away.
_GONE = wire.Done(wire.FAILED, errno.ECONNRESET)


class Port(Protocol):
    """The device's port; all of it on the vCPU's thread."""

    sink: Callable[[bytes], object]
    on_open: Callable[[bool], object]
    on_room: Callable[[], object]
    is_open: bool

    @property
    def room(self) -> int: ...

    def feed(self, data: bytes) -> int: ...

    def discard_input(self) -> None: ...


class Connection:
    """Speaks to one agent. ``post`` runs work on the vCPU's thread."""

    def __init__(self, post: Callable[[Callable[[], None]], None], has_port: bool = True) -> None:
        self._post = post
        self._has_port = has_port
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._port: Port | None = None
        self._parser = wire.Parser()
        self._nonce = 0
        self._is_ready = False
        self._is_closed = False
        self._is_pump_posted = False
        self._outgoing: deque[bytes] = deque()
        self._streams: dict[int, Stream] = {}
        self.counters: Counter[str] = Counter()

    # -- for users, on any thread --

    @property
    def is_ready(self) -> bool:
        return self._is_ready

    def wait_ready(self, timeout: float | None) -> None:
        """Raises:
        AgentError: no agent has answered in time, or the machine has ended or no port for one.
        """
        if not self.has_become_ready(timeout):
            raise AgentError(NO_AGENT)

    def has_become_ready(self, timeout: float | None) -> bool:
        """Whether an agent has answered, after ``timeout`` seconds at most.

        Raises:
            AgentError: none can any more.
        """
        if not self._has_port:
            raise AgentError("the machine has no port for an agent: make it with agent=True")
        with self._changed:
            self._changed.wait_for(lambda: self._is_ready or self._is_closed, timeout)
            if self._is_closed:
                raise AgentError("the machine has ended")
            return self._is_ready

    def open(self, type: Type, payload: bytes) -> Stream:
        """Ask for something; the answer comes on the stream.

        Raises:
            AgentError: there is no agent, the request is too long, or all streams are taken.
        """
        if len(payload) > wire.DATA_MAX:
            raise AgentError(f"too long for the agent: {len(payload)} bytes of arguments; {wire.DATA_MAX} go")
        with self._lock:
            if not self._is_ready:
                raise AgentError(NO_AGENT)
            number = next((n for n in range(wire.STREAMS) if n not in self._streams), None)
            if number is None:
                raise AgentError(f"the agent does {wire.STREAMS} things at once already: try again")
            stream = Stream(number, self._lock, self._send)
            self._streams[number] = stream
            self.counters["requests"] += 1
            self._send(wire.frame(number, type, payload))
            return stream

    def close(self) -> None:
        """The machine has ended."""
        with self._lock:
            self._is_closed = True
            self._break_off()

    def _send(self, frame: bytes) -> None:
        with self._lock:
            if len(self._outgoing) >= FRAMES_MAX:
                return self._give_up()
            self._outgoing.append(frame)
            if not self._is_pump_posted:
                self._is_pump_posted = True
                self._post(self._pump)

    # -- for the machine, on the vCPU's thread --

    def attach(self, port: Port) -> None:
        """The port of the board, again after each reboot."""
        with self._lock:
            self._break_off()
            self._port = port
            port.sink = self._receive
            port.on_open = self._on_open
            port.on_room = self._pump
            if port.is_open:
                self._on_open(True)

    def detach(self) -> None:
        """The board goes down, and the port with it."""
        with self._lock:
            self._port = None
            self._break_off()

    def _on_open(self, is_open: bool) -> None:
        with self._lock:
            self._break_off()
            self._parser = wire.Parser()
            if self._port is not None:
                self._port.discard_input()
            if is_open:
                self._greet()

    def _greet(self) -> None:
        self._nonce = secrets.randbits(64)
        self._send(wire.hello(self._nonce))

    def _pump(self) -> None:
        """Hand waiting frames to the device; what it has no room for waits for `on_room`."""
        with self._lock:
            self._is_pump_posted = False
            port = self._port
            while (
                self._outgoing and port is not None and port.is_open and len(self._outgoing[0]) <= port.room
            ):
                self.counters["sent_bytes"] += port.feed(self._outgoing.popleft())

    def _receive(self, data: bytes) -> None:
        with self._lock:
            self.counters["received_bytes"] += len(data)
            for frame in self._parser.feed(data):
                if not self._take_frame(frame):
                    return self._give_up()
            if self._parser.is_lost:
                self._give_up()

    def _take_frame(self, frame: wire.Frame) -> bool:
        if not self._is_ready:
            # An earlier agent's rest, until it answers us.
            if frame.type == Type.HELLO and wire.parse_hello(frame.payload) == (wire.VERSION, self._nonce):
                self._is_ready = True
                self.counters["connections"] += 1
                self._changed.notify_all()
            return True
        stream = self._streams.get(frame.stream)
        if stream is None:
            return False
        is_fine = stream.take_frame(frame)
        if stream.done is not None:
            self._streams.pop(frame.stream, None)
        return is_fine

    def _give_up(self) -> None:
        """The agent makes no sense: hear no more of it until it opens its port anew."""
        self.counters["protocol_errors"] += 1
        self._parser = wire.Parser()
        self._nonce = secrets.randbits(64)
        self._break_off()

    def _break_off(self) -> None:
        self._is_ready = False
        self._outgoing.clear()
        for stream in self._streams.values():
            stream.is_broken = True
            stream.finish(_GONE)
        self._streams.clear()
        self._changed.notify_all()
