"""The PC's serial port: National Semiconductor PC16550D data sheet, chapter 8 (registers).

A character is sent the moment it is written, so the transmitter is always empty. OUT2 does not
gate the interrupt as it does on a PC's board: guests made for emulators rely on that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters

FIFO_BYTES = 16
#: Input that waits in the VMM for room in the FIFO; a sender is told when it is full.
WAITING_LIMIT = 4096

IER_RX, IER_THRE, IER_LSR, IER_MSR = 1, 2, 4, 8
IIR_MSR, IIR_NONE, IIR_THRE, IIR_RX, IIR_LSR, IIR_TIMEOUT = 0x00, 0x01, 0x02, 0x04, 0x06, 0x0C
IIR_FIFOS = 0xC0
FCR_ENABLE, FCR_CLEAR_RX = 1, 2
LCR_DLAB = 0x80
LSR_DATA, LSR_OVERRUN, LSR_BREAK, LSR_THRE, LSR_IDLE = 0x01, 0x02, 0x10, 0x20, 0x40
LSR_ERRORS = 0x1E
MCR_LOOP = 0x10
MSR_CTS, MSR_DSR, MSR_RI, MSR_DCD = 0x10, 0x20, 0x40, 0x80
#: A terminal is plugged in and ready.
MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD

_TRIGGER = (1, 4, 8, 14)
_BYTE = [bytes((n,)) for n in range(256)]


class Uart(ByteRegisters):
    """Registers at offsets 0-7; ``output`` takes what the guest sends, ``feed`` is its input."""

    STATE = ("ier", "fcr", "lcr", "mcr", "lsr", "msr", "scr", "divisor", "is_thre_pending")

    def __init__(self, line: Line, output: Callable[[bytes], object], name: str = "uart") -> None:
        self.name = name
        self.line = line
        self.output = output
        self._received: deque[int] = deque()
        self._waiting: deque[int] = deque()
        self.reset()

    def reset(self) -> None:
        self.ier = self.fcr = self.lcr = self.mcr = self.scr = 0
        self.lsr = LSR_THRE | LSR_IDLE
        self.msr = MSR_CONNECTED
        self.divisor = 12
        self.is_thre_pending = False
        self._received.clear()
        self._update()

    def feed(self, data: bytes) -> int:
        """Characters arriving on the wire. Returns how many of them were taken."""
        taken = data[: WAITING_LIMIT - len(self._waiting)]
        self._waiting.extend(taken)
        if not self.mcr & MCR_LOOP:
            self._refill()
            self._update()
        return len(taken)

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        if offset == 0 and not (self.ier or self.lcr & LCR_DLAB or self.mcr & MCR_LOOP) and size_bytes == 1:
            # A kernel's console output by polling, the one hot path: nothing can interrupt.
            self.is_thre_pending = True
            self.output(_BYTE[value & 0xFF])
        else:
            super().write(offset, size_bytes, value)

    def read_byte(self, offset: int) -> int:
        if offset == 5:
            return self._read_lsr()
        if offset == 0:
            return self.divisor & 0xFF if self.lcr & LCR_DLAB else self._read_data()
        if offset == 1:
            return self.divisor >> 8 if self.lcr & LCR_DLAB else self.ier
        if offset == 2:
            return self._read_iir()
        if offset == 3:
            return self.lcr
        if offset == 4:
            return self.mcr
        if offset == 6:
            return self._read_msr()
        return self.scr

    def write_byte(self, offset: int, value: int) -> None:
        if offset == 0:
            if self.lcr & LCR_DLAB:
                self.divisor = self.divisor & 0xFF00 | value
            else:
                self._send(value)
        elif offset == 1:
            if self.lcr & LCR_DLAB:
                self.divisor = self.divisor & 0xFF | value << 8
            else:
                self._write_ier(value & 0x0F)
        elif offset == 2:
            self._write_fcr(value)
        elif offset == 3:
            self.lcr = value
        elif offset == 4:
            self._write_mcr(value & 0x1F)
        elif offset == 7:
            self.scr = value

    def _send(self, value: int) -> None:
        if self.mcr & MCR_LOOP:
            self._receive(value)
        else:
            self.output(_BYTE[value])
        if self.ier:
            # The register was full for a moment: an edge-triggered controller must see the dip.
            self.is_thre_pending = False
            self._update()
        self.is_thre_pending = True
        if self.ier:
            self._update()

    def _receive(self, value: int) -> None:
        """One character into the receiver; with no room left it is lost and overrun is set."""
        if len(self._received) < self._fifo_room():
            self._received.append(value)
        else:
            self.lsr |= LSR_OVERRUN

    def _fifo_room(self) -> int:
        return FIFO_BYTES if self.fcr & FCR_ENABLE else 1

    def _refill(self) -> None:
        room = self._fifo_room()
        while self._waiting and len(self._received) < room:
            self._received.append(self._waiting.popleft())

    def _read_data(self) -> int:
        if not self._received:
            return 0
        value = self._received.popleft()
        if not self.mcr & MCR_LOOP:
            self._refill()
        self._update()
        return value

    def _read_lsr(self) -> int:
        value = self.lsr | (LSR_DATA if self._received else 0)
        if self.lsr & LSR_ERRORS:
            self.lsr &= ~LSR_ERRORS
            self._update()
        return value

    def _read_msr(self) -> int:
        value = self.msr
        if value & 0x0F:
            self.msr &= 0xF0
            self._update()
        return value

    def _write_ier(self, value: int) -> None:
        if value & ~self.ier & IER_THRE:
            # Enabling it with the register empty interrupts at once; drivers start on that.
            self.is_thre_pending = True
        self.ier = value
        self._update()

    def _write_fcr(self, value: int) -> None:
        if (value ^ self.fcr) & FCR_ENABLE or value & FCR_CLEAR_RX:
            self._received.clear()
        self.fcr = value & 0xC9 if value & FCR_ENABLE else 0
        if not self.mcr & MCR_LOOP:
            self._refill()
        self._update()

    def _write_mcr(self, value: int) -> None:
        self.mcr = value
        status = MSR_CONNECTED
        if value & MCR_LOOP:
            # DTR drives DSR, RTS drives CTS, OUT1 drives RI, OUT2 drives DCD.
            status = (value & 1) << 5 | (value & 2) << 3 | (value & 4) << 4 | (value & 8) << 4
        else:
            self._refill()
        changed = (self.msr ^ status) & 0xF0
        if changed & MSR_RI and status & MSR_RI:
            changed &= ~MSR_RI  # only the trailing edge of RI counts
        self.msr = self.msr & 0x0F | status | changed >> 4
        self._update()

    def _pending(self) -> int:
        """The interrupt of the highest priority, as IIR shows it."""
        ier = self.ier
        if ier & IER_LSR and self.lsr & LSR_ERRORS:
            return IIR_LSR
        if ier & IER_RX and self._received:
            if not self.fcr & FCR_ENABLE or len(self._received) >= _TRIGGER[self.fcr >> 6]:
                return IIR_RX
            return IIR_TIMEOUT
        if ier & IER_THRE and self.is_thre_pending:
            return IIR_THRE
        if ier & IER_MSR and self.msr & 0x0F:
            return IIR_MSR
        return IIR_NONE

    def _read_iir(self) -> int:
        value = self._pending()
        if value == IIR_THRE:
            self.is_thre_pending = False
            self._update()
        return value | (IIR_FIFOS if self.fcr & FCR_ENABLE else 0)

    def _update(self) -> None:
        self.line.set(self._pending() != IIR_NONE)

    def save(self) -> Record:
        return super().save() | {"received": list(self._received), "waiting": list(self._waiting)}

    def restore(self, record: Record) -> None:
        super().restore(record)
        self._received = deque(record["received"])
        self._waiting = deque(record["waiting"])
        self._update()
