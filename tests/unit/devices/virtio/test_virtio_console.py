"""virtio-console: bytes both ways, with bounds, and the emergency write."""

from __future__ import annotations

import pytest
from fake_guest import BUFFERS_BASE, Driver, Machine

from ringfence.devices.virtio.console import F_EMERG_WRITE, F_SIZE, VirtioConsole
from ringfence.devices.virtio.port import INPUT_BYTES_MAX, OUTPUT_BYTES_MAX, RECEIVE, TRANSMIT


class Terminal:
    """A console in a machine, and what it printed."""

    def __init__(self) -> None:
        self.printed = b""
        self.console = VirtioConsole("console", self._print, columns=100, rows=40)
        self.driver = Driver(Machine(self.console))

    def _print(self, data: bytes) -> None:
        self.printed += data


@pytest.fixture
def terminal() -> Terminal:
    terminal = Terminal()
    terminal.driver.start(F_SIZE)
    return terminal


def test_configuration(terminal: Terminal) -> None:
    driver = terminal.driver
    assert driver.offered() & 0xFF == F_SIZE | F_EMERG_WRITE
    assert [driver.device_config(0, 2), driver.device_config(2, 2), driver.device_config(4, 4)] == [
        100,
        40,
        1,
    ]


def test_prints(terminal: Terminal) -> None:
    driver = terminal.driver
    driver.memory.write(BUFFERS_BASE, b"hello\n")
    assert driver.request([(BUFFERS_BASE, 3, False), (BUFFERS_BASE + 3, 3, False)], queue=TRANSMIT) == 0
    assert terminal.printed == b"hello\n"


def test_output_of_one_request_is_bounded(terminal: Terminal) -> None:
    driver = terminal.driver
    driver.request([(0, 0x8_0000, False)] * 16, queue=TRANSMIT)
    assert len(terminal.printed) == OUTPUT_BYTES_MAX
    metrics = driver.machine.function.metrics()
    assert metrics["output_dropped_bytes"] == 16 * 0x8_0000 - OUTPUT_BYTES_MAX


def test_input_fills_waiting_buffers(terminal: Terminal) -> None:
    driver = terminal.driver
    ring = driver.rings[RECEIVE]
    ring.offer(ring.chain([(BUFFERS_BASE, 4, True)]), ring.chain([(BUFFERS_BASE + 8, 4, True)], first=1))
    driver.notify(RECEIVE)
    assert ring.take() == []
    assert terminal.console.feed(b"abcdef") == 6
    assert ring.take() == [(0, 4), (1, 2)]
    assert driver.memory.read(BUFFERS_BASE, 12) == b"abcd\0\0\0\0ef\0\0"
    assert driver.machine.wire.level


def test_input_waits_for_a_buffer(terminal: Terminal) -> None:
    driver = terminal.driver
    assert terminal.console.feed(b"early") == 5
    assert driver.request([(BUFFERS_BASE, 64, True)], queue=RECEIVE) == 5
    assert driver.memory.read(BUFFERS_BASE, 5) == b"early"


def test_waiting_input_is_bounded(terminal: Terminal) -> None:
    assert terminal.console.feed(bytes(INPUT_BYTES_MAX - 1)) == INPUT_BYTES_MAX - 1
    assert terminal.console.feed(b"xyz") == 1
    assert terminal.console.feed(b"z") == 0


def test_input_before_the_driver_is_ready() -> None:
    terminal = Terminal()
    assert terminal.console.feed(b"typed ahead") == 11
    terminal.driver.start()
    assert terminal.driver.request([(BUFFERS_BASE, 64, True)], queue=RECEIVE) == 11


def test_a_buffer_that_is_not_writable_does_not_stop_input(terminal: Terminal) -> None:
    driver = terminal.driver
    ring = driver.rings[RECEIVE]
    ring.offer(ring.chain([(BUFFERS_BASE, 4, False)]), ring.chain([(BUFFERS_BASE, 4, True)], first=1))
    terminal.console.feed(b"ab")
    assert ring.take() == [(0, 0), (1, 2)]


def test_emergency_write() -> None:
    terminal = Terminal()
    driver = terminal.driver
    for byte in b"!?":
        driver.machine.mmio.write(driver.places[4] + 8, 4, byte)
    assert terminal.printed == b"!?"


def test_state() -> None:
    terminal, twin = Terminal(), Terminal()
    terminal.console.feed(b"pending")
    terminal.console.resize(10, 20)
    twin.console.restore(terminal.console.save())
    twin.driver.start()
    assert twin.driver.request([(BUFFERS_BASE, 64, True)], queue=RECEIVE) == 7
    assert twin.driver.device_config(0, 4) == 20 << 16 | 10
