"""The 16550A: what drivers probe for, its interrupts, and its queues."""

from __future__ import annotations

import pytest
from fake_time import Recorder

from ringfence.devices.legacy.uart import WAITING_LIMIT, Uart

DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7


class Port(Uart):
    """A UART with one-letter-shorter accesses."""

    def __init__(self, line: Recorder) -> None:
        self.sent = bytearray()
        super().__init__(line, self.sent.extend)

    def get(self, register: int) -> int:
        return self.read(register, 1)

    def put(self, register: int, value: int) -> None:
        self.write(register, 1, value)


@pytest.fixture
def uart(line: Recorder) -> Port:
    return Port(line)


def test_output_and_idle_status(uart: Port) -> None:
    for byte in b"boot":
        uart.put(DATA, byte)
    assert uart.sent == b"boot"
    assert uart.get(LSR) == 0x60


def test_divisor_latch(uart: Port) -> None:
    uart.put(LCR, 0x83)
    uart.put(0, 0x34)
    uart.put(1, 0x12)
    assert (uart.get(0), uart.get(1)) == (0x34, 0x12)
    uart.put(LCR, 0x03)
    assert uart.get(IER) == 0
    assert uart.sent == b""


def test_what_linux_probes_for(uart: Port) -> None:
    uart.put(IER, 0xFF)
    assert uart.get(IER) == 0x0F
    uart.put(IER, 0)
    uart.put(SCR, 0xA5)
    assert uart.get(SCR) == 0xA5
    uart.put(MCR, 0x10 | 0x0A)
    assert uart.get(MSR) & 0xF0 == 0x90
    uart.put(MCR, 0)
    assert uart.get(IIR) >> 6 == 0
    uart.put(FCR, 1)
    assert uart.get(IIR) >> 6 == 3
    assert uart.get(IIR) & 0x20 == 0, "no 64-byte FIFO"


def test_enabling_the_empty_transmitter_interrupts(uart: Port, line: Recorder) -> None:
    uart.put(IER, 2)
    assert line.level
    assert uart.get(IIR) == 0x02
    assert not line.level, "reading IIR acknowledges it"
    assert uart.get(IIR) == 0x01
    uart.put(DATA, 0x41)
    assert (line.level, line.edges) == (True, 2)
    uart.put(DATA, 0x42)
    assert (line.level, line.edges) == (True, 3), "an edge for each time the register empties"


def test_input_goes_through_the_fifo(uart: Port, line: Recorder) -> None:
    uart.put(FCR, 0x81)  # trigger at 8
    uart.put(IER, 1)
    assert uart.feed(b"abc") == 3
    assert line.level
    assert uart.get(IIR) == 0xCC, "below the trigger: timeout"
    uart.feed(bytes(range(30)))
    assert uart.get(IIR) == 0xC4
    assert uart.get(LSR) & 1
    got = bytes(uart.get(DATA) for _ in range(33))
    assert got == b"abc" + bytes(range(30))
    assert not line.level
    assert not uart.get(LSR) & 1
    assert uart.get(DATA) == 0


def test_input_waits_without_loss_and_without_growing(uart: Port) -> None:
    sent = bytes(i & 0xFF for i in range(WAITING_LIMIT + 500))
    taken = uart.feed(sent)
    assert WAITING_LIMIT <= taken < len(sent)
    assert uart.feed(b"x" * 500) <= 500
    assert bytes(uart.get(DATA) for _ in range(taken)) == sent[:taken]


def test_the_priorities_of_interrupts(uart: Port) -> None:
    uart.put(IER, 0x0F)
    uart.put(MCR, 0x10)
    for byte in b"ab":
        uart.put(DATA, byte)  # no FIFO: the second overruns
    causes = []
    for register in (LSR, DATA, IIR, MSR):
        causes.append(uart.get(IIR) & 0x0F)
        uart.get(register)
    assert causes == [0x06, 0x04, 0x02, 0x00]
    assert uart.get(IIR) == 0x01


def test_overrun_is_reported_once(uart: Port) -> None:
    uart.put(MCR, 0x10)
    uart.put(DATA, 1)
    uart.put(DATA, 2)
    assert uart.get(LSR) & 0x02
    assert not uart.get(LSR) & 0x02
    assert uart.get(DATA) == 1
    assert uart.sent == b"", "nothing leaves in loopback"


def test_modem_lines_loop_back_with_deltas(uart: Port) -> None:
    uart.put(MCR, 0x10)
    assert uart.get(MSR) == 0x0B, "CTS, DSR and DCD fell"
    for mcr, msr in ((0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80)):
        uart.put(MCR, mcr)
        assert uart.get(MSR) & 0xF0 == msr
        assert uart.get(MSR) & 0x0F == 0, "reading clears the deltas"
    uart.put(MCR, 0x14)
    uart.get(MSR)
    uart.put(MCR, 0x10)
    assert uart.get(MSR) == 0x04, "RI: the trailing edge"


def test_clearing_the_fifo_drops_what_is_in_it(uart: Port) -> None:
    uart.put(FCR, 1)
    uart.put(MCR, 0x10)
    uart.put(DATA, 7)
    uart.put(FCR, 3)
    assert not uart.get(LSR) & 1


def test_wider_accesses_are_bytes(uart: Port) -> None:
    uart.write(SCR - 1, 2, 0xAB00)
    assert uart.get(SCR) == 0xAB
    assert uart.read(SCR - 1, 2) == 0xABB0


def test_save_and_restore(uart: Port) -> None:
    uart.put(FCR, 1)
    uart.put(IER, 1)
    uart.put(LCR, 0x80)
    uart.put(0, 1)
    uart.put(LCR, 0x03)
    uart.feed(b"x" * 20)
    line = Recorder()
    other = Port(line)
    other.restore(uart.save())
    assert other.save() == uart.save()
    assert line.level
    assert bytes(other.get(DATA) for _ in range(20)) == b"x" * 20
    other.reset()
    assert not line.level
    assert other.get(IER) == 0
