"""virtio-console with ports: names, who has what open, bytes on the queues of each, and liars."""

from __future__ import annotations

import struct

import pytest
from fake_guest import BUFFERS_BASE, Driver, Machine

from ringfence.devices.virtio.console import (
    CONSOLE_PORT,
    CONTROL_MESSAGES_MAX,
    CONTROL_RECEIVE,
    CONTROL_TRANSMIT,
    DEVICE_ADD,
    DEVICE_READY,
    F_MULTIPORT,
    F_SIZE,
    PORT_NAME,
    PORT_OPEN,
    PORT_READY,
    RESIZE,
    VirtioConsole,
)
from ringfence.devices.virtio.port import Port

RECEIVE_1, TRANSMIT_1 = 4, 5


class Guest:
    """A driver that knows ports."""

    def __init__(self, has_console: bool = True) -> None:
        self.printed = b""
        self.port = Port("org.example.0", self._print)
        sink = (lambda data: None) if has_console else None
        self.console = VirtioConsole("console", sink, ports=[self.port])
        self.driver = Driver(Machine(self.console))
        self.driver.start(F_SIZE | F_MULTIPORT)

    def _print(self, data: bytes) -> None:
        self.printed += data

    def tell(self, number: int, event: int, value: int) -> None:
        self.driver.memory.write(BUFFERS_BASE, struct.pack("<IHH", number, event, value))
        assert self.driver.request([(BUFFERS_BASE, 8, False)], queue=CONTROL_TRANSMIT) == 0

    def told(self) -> list[tuple[int, int, int, bytes]]:
        """The control messages that wait."""
        messages = []
        while self.console._messages:
            n = self.driver.request([(BUFFERS_BASE, 64, True)], queue=CONTROL_RECEIVE)
            assert n is not None
            data = self.driver.memory.read(BUFFERS_BASE, n)
            messages.append((*struct.unpack_from("<IHH", data), data[8:]))
        return messages


def test_ports_are_added_named_and_opened() -> None:
    guest = Guest()
    opened: list[bool] = []
    guest.port.on_open = opened.append
    assert guest.driver.device_config(4, 4) == 2
    guest.tell(0xFFFFFFFF, DEVICE_READY, 1)
    assert guest.told() == [(0, DEVICE_ADD, 1, b""), (1, DEVICE_ADD, 1, b"")]
    guest.tell(0, PORT_READY, 1)
    assert [event for _, event, _, _ in guest.told()] == [CONSOLE_PORT, RESIZE, PORT_OPEN]
    guest.tell(1, PORT_READY, 1)
    assert guest.told() == [(1, PORT_NAME, 1, b"org.example.0"), (1, PORT_OPEN, 1, b"")]
    guest.tell(1, PORT_OPEN, 1)
    guest.tell(1, PORT_OPEN, 1)
    guest.tell(1, PORT_OPEN, 0)
    assert opened == [True, False]


def test_without_a_console_port_0_is_not_added() -> None:
    guest = Guest(has_console=False)
    guest.tell(0, DEVICE_READY, 1)
    assert guest.told() == [(1, DEVICE_ADD, 1, b"")]


def test_bytes_both_ways() -> None:
    guest = Guest()
    guest.driver.memory.write(BUFFERS_BASE, b"hello")
    guest.driver.request([(BUFFERS_BASE, 5, False)], queue=TRANSMIT_1)
    assert guest.printed == b"hello"
    room: list[bool] = []
    guest.port.on_room = lambda: room.append(True)
    assert guest.port.feed(b"abcdef") == 6
    assert guest.driver.request([(BUFFERS_BASE, 4, True)], queue=RECEIVE_1) == 4
    assert room == []
    assert guest.driver.request([(BUFFERS_BASE, 4, True)], queue=RECEIVE_1) == 2
    assert room == [True]
    assert guest.console.feed(b"typed") == 5
    assert guest.driver.request([(BUFFERS_BASE, 8, True)], queue=0) == 5


@pytest.mark.parametrize(("number", "event"), [(2, PORT_READY), (0xFFFFFFFF, PORT_OPEN), (7, 99)])
def test_ports_that_are_not_there(number: int, event: int) -> None:
    guest = Guest()
    guest.tell(number, event, 1)
    assert guest.told() == []
    assert guest.driver.machine.function.metrics()["control_malformed"] == 1


def test_messages_that_nobody_takes_are_bounded() -> None:
    guest = Guest()
    for _ in range(CONTROL_MESSAGES_MAX):
        guest.tell(0, DEVICE_READY, 1)
    assert len(guest.console._messages) == CONTROL_MESSAGES_MAX
    assert guest.driver.machine.function.metrics()["control_dropped"] == CONTROL_MESSAGES_MAX
    guest.driver.request([(BUFFERS_BASE, 3, False)], queue=CONTROL_TRANSMIT)
    assert guest.driver.machine.function.metrics()["control_malformed"] == 1


def test_a_reset_closes_ports() -> None:
    guest = Guest()
    opened: list[bool] = []
    guest.port.on_open = opened.append
    guest.tell(1, PORT_OPEN, 1)
    guest.driver.start(F_SIZE | F_MULTIPORT)
    assert opened == [True, False]


def test_a_driver_without_ports_has_a_console() -> None:
    guest = Guest()
    guest.driver.start(F_SIZE)
    assert guest.console.feed(b"x") == 1
    assert guest.driver.request([(BUFFERS_BASE, 8, True)], queue=0) == 1


def test_state() -> None:
    guest, twin = Guest(), Guest()
    guest.port.feed(b"pending")
    guest.tell(1, PORT_OPEN, 1)
    twin.console.restore(guest.console.save())
    assert twin.port.is_open
    assert twin.driver.request([(BUFFERS_BASE, 64, True)], queue=RECEIVE_1) == 7
