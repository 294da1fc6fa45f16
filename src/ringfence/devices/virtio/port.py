"""One port of a virtio-console device: bytes that wait for the guest, and where the guest's bytes go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ringfence.core.dma.virtqueue import Virtqueue
from ringfence.devices.device import Record
from ringfence.units import KIB, MIB

RECEIVE, TRANSMIT = 0, 1
#: Input that waits for a guest that does not read.
INPUT_BYTES_MAX = 64 * KIB
#: Output of one request; the rest of a longer one is dropped and counted, so that overlapping
#: buffers can't make a terabyte out of a megabyte.
OUTPUT_BYTES_MAX = MIB


class Port:
    """Bytes both ways between a program in the guest and ``sink``, on the vCPU's thread."""

    def __init__(self, name: str, sink: Callable[[bytes], object]) -> None:
        self.name = name
        #: takes what the guest writes
        self.sink = sink
        #: of the device
        self.counters: Counter[str] = Counter()
        #: a program in the guest has it open
        self.is_open = False
        #: called when that changes
        self.on_open: Callable[[bool], object] = _ignore
        #: called when the guest has taken input, and there is room for more
        self.on_room: Callable[[], object] = _nothing
        #: the receive queue, once the driver has set it up; the device fills it in
        self.receive_queue: Callable[[], Virtqueue | None] = _no_queue
        self._input = bytearray()

    def set_open(self, is_open: bool) -> None:
        if is_open != self.is_open:
            self.is_open = is_open
            self.on_open(is_open)

    @property
    def room(self) -> int:
        """Bytes that `feed` takes."""
        return INPUT_BYTES_MAX - len(self._input)

    def feed(self, data: bytes) -> int:
        """Send ``data`` to the guest; returns how much of it there was room for."""
        taken = data[: self.room]
        self._input += taken
        if (queue := self.receive_queue()) is not None:
            self._fill(queue)
        return len(taken)

    def discard_input(self) -> None:
        """Forget what the guest has not taken."""
        self._input.clear()

    def deliver(self, queue: Virtqueue) -> None:
        """The driver offers buffers."""
        was_waiting = bool(self._input)
        self._fill(queue)
        if was_waiting and not self._input:
            self.on_room()

    def _fill(self, queue: Virtqueue) -> None:
        while self._input and (chain := queue.pop()):
            written = chain.write(0, bytes(self._input[: chain.writable_bytes]))
            del self._input[:written]
            self.counters["input_bytes"] += written
            queue.push(chain, written)
        queue.signal()

    def take_output(self, queue: Virtqueue) -> None:
        """Pass on what the driver sends."""
        for chain in queue.chains():
            data = chain.read(0, OUTPUT_BYTES_MAX)
            self.counters["output_bytes"] += len(data)
            self.counters["output_dropped_bytes"] += chain.readable_bytes - len(data)
            self.sink(data)
            queue.push(chain, 0)

    def save(self) -> Record:
        return {"input": bytes(self._input), "is_open": self.is_open}

    def restore(self, record: Record) -> None:
        pending = record["input"]
        assert isinstance(pending, bytes)
        self._input[:] = pending
        self.is_open = bool(record["is_open"])


def _ignore(is_open: bool) -> None:
    """Nobody wants to know."""


def _no_queue() -> None:
    """There is no device yet."""


def _nothing() -> None:
    """Nobody waits for room."""
