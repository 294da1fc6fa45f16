"""virtio-console: lines between guest and host, bytes in and bytes out.

VIRTIO 1.2, section 5.3. Port 0 is a console (the guest's hvc0); further ports have names and are for
programs. Without the multiport feature the driver sees port 0 only. Queues::

    0, 1  receive and transmit of port 0      2, 3  control messages to and from the driver
    4, 5  of port 1                            …
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ringfence.core.dma.virtqueue import Virtqueue
from ringfence.devices.device import Record
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.devices.virtio.port import RECEIVE, TRANSMIT, Port

F_SIZE = 1 << 0
F_MULTIPORT = 1 << 1
F_EMERG_WRITE = 1 << 2

CONTROL_RECEIVE, CONTROL_TRANSMIT = 2, 3
#: section 5.3.6.2
DEVICE_READY, DEVICE_ADD, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME = 0, 1, 3, 4, 5, 6, 7
#: Control messages that wait for a driver that takes none; more are dropped and counted.
CONTROL_MESSAGES_MAX = 64

_CONFIG = struct.Struct("<HHII")
_EMERGENCY_OFFSET = 8
_CONTROL = struct.Struct("<IHH")


class VirtioConsole(VirtioDevice):
    """A terminal line, and ``ports`` beside it: ``sink`` takes what the guest prints, `feed` types.

    Args:
        sink: takes the console's output; None for a device that has ports alone.
        ports: for programs of the guest, each with a name.
    """

    device_type = 3
    class_code = 0x078000
    queue_sizes: tuple[int, ...] = (64, 64)

    def __init__(
        self,
        name: str,
        sink: Callable[[bytes], None] | None,
        columns: int = 80,
        rows: int = 25,
        ports: Sequence[Port] = (),
    ) -> None:
        super().__init__(name)
        self._has_console = sink is not None
        self._console = Port("", sink or _discard)
        self.ports = (self._console, *ports)
        for number, port in enumerate(self.ports):
            port.counters = self.counters
            port.receive_queue = partial(self._receive_queue, number)
        self._size = (columns, rows)
        self._messages: deque[bytes] = deque()
        if ports:
            self.queue_sizes = (64, 64) * (len(self.ports) + 1)

    # Configuration.

    @property
    def offered_features(self) -> int:
        return F_SIZE | F_EMERG_WRITE | (F_MULTIPORT if len(self.ports) > 1 else 0)

    @property
    def _is_multiport(self) -> bool:
        return bool(self.features & F_MULTIPORT)

    def config(self) -> bytes:
        return _CONFIG.pack(*self._size, len(self.ports), 0)

    def write_config(self, offset: int, data: bytes) -> None:
        """Emergency write: a character with no queue, for a driver that has not got that far."""
        if offset == _EMERGENCY_OFFSET:
            self._console.sink(data[:1])

    def resize(self, columns: int, rows: int) -> None:
        self._size = (columns & 0xFFFF, rows & 0xFFFF)
        self.config_changed()
        if self._is_multiport and self._has_console:
            self._tell(0, RESIZE, 0, struct.pack("<HH", *self._size))

    # Queues.

    def notify(self, index: int) -> None:
        if index == CONTROL_RECEIVE:
            self._deliver_messages()
        elif index == CONTROL_TRANSMIT:
            self._take_messages()
        else:
            port = self.ports[index // 2 - 1 if index > CONTROL_TRANSMIT else 0]
            if index & 1 == TRANSMIT:
                port.take_output(self.queues[index])
            else:
                port.deliver(self.queues[index])

    def feed(self, data: bytes) -> int:
        """Type ``data`` on the console; returns how much of it there was room for."""
        return self._console.feed(data)

    def _receive_queue(self, number: int) -> Virtqueue | None:
        return self.queues[2 * number + 2 if number else RECEIVE] if self.queues else None

    # Control messages.

    def _take_messages(self) -> None:
        queue = self.queues[CONTROL_TRANSMIT]
        for chain in queue.chains():
            message = chain.read(0, _CONTROL.size)
            queue.push(chain, 0)
            if len(message) == _CONTROL.size:
                self._obey(*_CONTROL.unpack(message))
            else:
                self.counters["control_malformed"] += 1

    def _obey(self, number: int, event: int, value: int) -> None:
        if event == DEVICE_READY and value == 1:
            for known in range(0 if self._has_console else 1, len(self.ports)):
                self._tell(known, DEVICE_ADD, 1)
        elif number >= len(self.ports):
            self.counters["control_malformed"] += 1
        elif event == PORT_READY and value == 1:
            port = self.ports[number]
            if number == 0:
                self._tell(number, CONSOLE_PORT, 1)
                self._tell(number, RESIZE, 0, struct.pack("<HH", *self._size))
            if port.name:
                self._tell(number, PORT_NAME, 1, port.name.encode())
            self._tell(number, PORT_OPEN, 1)
        elif event == PORT_OPEN:
            self.ports[number].set_open(bool(value))

    def _tell(self, number: int, event: int, value: int, more: bytes = b"") -> None:
        if len(self._messages) >= CONTROL_MESSAGES_MAX:
            self.counters["control_dropped"] += 1
            return
        self._messages.append(_CONTROL.pack(number, event, value) + more)
        self._deliver_messages()

    def _deliver_messages(self) -> None:
        queue = self.queues[CONTROL_RECEIVE]
        while self._messages and (chain := queue.pop()):
            queue.push(chain, chain.write(0, self._messages.popleft()))
        queue.signal()

    # State.

    def save(self) -> Record:
        return {
            "size": list(self._size),
            "ports": [port.save() for port in self.ports],
            "messages": list(self._messages),
        }

    def restore(self, record: Record) -> None:
        size, ports, messages = record["size"], record["ports"], record["messages"]
        assert isinstance(size, list) and isinstance(ports, list) and isinstance(messages, list)
        self._size = (size[0], size[1])
        self._messages = deque(messages)
        for port, saved in zip(self.ports, ports, strict=True):
            port.restore(saved)

    def reset(self) -> None:
        self._messages.clear()
        for port in self.ports:
            port.set_open(False)


def _discard(data: bytes) -> None:
    """There is no console."""
