"""A guest's agent in a few lines: it says what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.agent import wire
from ringfence.agent.wire import Done, Frame, Type
from ringfence.vmm.agent.agent import Agent


class FakePort:
    """The device's port with the guest behind it, which takes ``room_bytes`` at most."""

    def __init__(self) -> None:
        self.sink: Callable[[bytes], object] = lambda data: None
        self.on_open: Callable[[bool], object] = lambda is_open: None
        self.on_room: Callable[[], object] = lambda: None
        self.is_open = False
        self.room_bytes = 1 << 30
        self.waiting = bytearray()

    def feed(self, data: bytes) -> int:
        assert len(data) <= self.room, "a frame was cut"
        self.waiting += data
        return len(data)

    @property
    def room(self) -> int:
        return max(0, self.room_bytes - len(self.waiting))

    def discard_input(self) -> None:
        self.waiting.clear()


class FakeAgent:
    """An agent that answers HELLO, and keeps what else it was sent."""

    def __init__(self, is_idle: Callable[[], bool] = lambda: False) -> None:
        self.port = FakePort()
        #: answers what comes from the host at once; without it frames wait for `take`
        self.answer: Callable[[Frame], None] | None = None
        self.host = Agent(self._post, is_idle=is_idle)
        self.host.attach(self.port)
        self._parser = wire.Parser()

    def _post(self, work: Callable[[], None]) -> None:
        work()
        if self.answer is not None:
            data = bytes(self.port.waiting)
            self.port.waiting.clear()
            for frame in self._parser.feed(data):
                self.answer(frame)

    def open(self) -> None:
        """The program opens its port and answers."""
        self.port.is_open = True
        self.port.on_open(True)
        self.answer_hello()

    def close(self) -> None:
        self.port.is_open = False
        self.port.on_open(False)

    def answer_hello(self) -> None:
        for frame in self.take():
            if frame.type == Type.HELLO:
                self.send(0, Type.HELLO, frame.payload)

    def take(self) -> list[Frame]:
        """What has come from the host since the last time."""
        data = bytes(self.port.waiting)
        self.port.waiting.clear()
        frames = list(self._parser.feed(data))
        self.port.on_room()
        return frames

    def send(self, stream: int, type: Type, payload: bytes = b"", channel: int = 0) -> None:
        self.port.sink(wire.frame(stream, type, payload, channel))

    def done(self, stream: int, how: int = wire.EXITED, value: int = 0, crc: int = 0, size: int = 0) -> None:
        self.send(stream, Type.DONE, encode_done(Done(how, value, crc, size)))


def encode_done(done: Done) -> bytes:
    return wire._DONE.pack(*done)
