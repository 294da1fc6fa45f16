"""How the PC's interrupt wires run: from devices to the 8259 pair and the I/O APIC, and on to processors.

Every ISA wire ends at both; the system masks the one that it does not use. The timer's wire, 0, is at pin 2
of the I/O APIC. PCI's four INTx wires are its pins 16 to 19, and for systems without APIC inputs of the 8259.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ringfence.board import ports
from ringfence.board.real_mode import MASTER_VECTOR, SLAVE_VECTOR
from ringfence.devices.irq import Line
from ringfence.devices.legacy import msi
from ringfence.devices.legacy.ioapic import PINS, IoApic
from ringfence.devices.legacy.pic import CASCADE, ICW1, ICW1_ICW4, PicPair

ISA_WIRES = 16
_LOWEST_PRIORITY = 1
_LINT0 = 0
_ELCR = 4
_ICW4_8086 = 1
#: Both 8259s: first register, vectors, how they are wired to each other, mask: all but the timer.
_PICS = ((0, MASTER_VECTOR, 1 << CASCADE, 0xFA), (2, SLAVE_VECTOR, CASCADE, 0xFF))
#: PCI's wires and ACPI's interrupt are level-triggered; firmware tells the 8259s.
_LEVEL_IRQS = (*ports.IRQ_INTX, ports.IRQ_SCI)


class Lapic(Protocol):
    """Of a local APIC, what a message and the 8259 need."""

    def matches(self, destination: int, is_logical: bool) -> bool: ...

    def deliver(self, delivery_mode: int, vector: int, is_level: bool = False) -> None: ...

    def set_lint(self, pin: int, level: bool) -> None: ...


class Processor(Protocol):
    @property
    def lapic(self) -> Lapic: ...


class Interrupts:
    """Both controllers, and the lines that devices hold."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        self._processors = processors
        self.pic = PicPair()
        self.ioapic = IoApic(self.deliver)
        self._isa = [Line(self._isa_sink(irq)) for irq in range(ISA_WIRES)]
        self.intx = [
            Line(_both(self.pic.lines[irq], self.ioapic.lines[gsi]))
            for irq, gsi in zip(ports.IRQ_INTX, ports.GSI_INTX, strict=True)
        ]
        free = range(ports.GSI_INTX[-1] + 1, PINS)
        #: the pins that are left, for timers that choose their own
        self.free_pins = {pin: Line(self.ioapic.lines[pin]) for pin in free}
        self.pic.output.connect(self._intr)

    def irq(self, gsi: int) -> Line:
        """The line of a global system interrupt; 0 to 15 are the ISA wires."""
        if gsi < ISA_WIRES:
            return self._isa[gsi]
        if gsi in ports.GSI_INTX:
            return self.intx[ports.GSI_INTX.index(gsi)]
        return self.free_pins[gsi]

    def initialize_pics(self) -> None:
        """Do with the 8259s what firmware does: vectors, masks and trigger modes."""
        for offset, vector, wiring, mask in _PICS:
            self.pic.write(offset, 1, ICW1 | ICW1_ICW4)
            for value in (vector, wiring, _ICW4_8086, mask):
                self.pic.write(offset + 1, 1, value)
        bits = sum(1 << irq for irq in _LEVEL_IRQS)
        self.pic.write(_ELCR, 2, bits)

    def send_msi(self, address: int, data: int) -> None:
        """A device's message; one that is not meant for a local APIC is lost, as a write to nowhere."""
        message = msi.decode(address, data)
        if message is not None:
            self.deliver(*message)

    def deliver(
        self, destination: int, is_logical: bool, delivery_mode: int, vector: int, is_level: bool
    ) -> None:
        """Bring a message to the processors it names; of several, lowest priority chooses the first."""
        for processor in self._processors:
            if processor.lapic.matches(destination, is_logical):
                processor.lapic.deliver(delivery_mode, vector, is_level)
                if delivery_mode == _LOWEST_PRIORITY:
                    return

    def _isa_sink(self, irq: int) -> Callable[[bool], Any]:
        pin = ports.GSI_TIMER if irq == ports.IRQ_TIMER else irq
        if irq == ports.GSI_TIMER:
            return self.pic.lines[irq]
        return _both(self.pic.lines[irq], self.ioapic.lines[pin])

    def _intr(self, level: bool) -> None:
        self._processors[0].lapic.set_lint(_LINT0, level)


def _both(first: Callable[[bool], Any], second: Callable[[bool], Any]) -> Callable[[bool], None]:
    def sink(level: bool) -> None:
        first(level)
        second(level)

    return sink
