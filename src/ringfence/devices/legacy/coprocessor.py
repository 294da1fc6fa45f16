"""The wire by which an x87 error became an interrupt in the IBM PC/AT: FERR#, IRQ 13, port 0xF0.

With CR0.NE = 0 the processor does not raise #MF; the board raises IRQ 13 instead, and the handler
writes port 0xF0 to take it back (Intel SDM vol. 1, appendix D.2). IGNNE#, by which that write also
lets the next x87 instruction pass, is not modelled: handlers clear the error before they go on.
"""

from __future__ import annotations

from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters


class Coprocessor(ByteRegisters):
    """Ports 0xF0 (clear) and 0xF1 (reset): both take the interrupt back."""

    STATE = ("is_asserted",)

    def __init__(self, line: Line, name: str = "coprocessor") -> None:
        self.name = name
        self._line = line
        self.is_asserted = False

    def assert_error(self) -> None:
        """The processor's FERR# output."""
        self.is_asserted = True
        self._line.raise_()

    def reset(self) -> None:
        self.is_asserted = False
        self._line.lower()

    def restore(self, record: Record) -> None:
        super().restore(record)
        self._line.set(self.is_asserted)

    def read_byte(self, offset: int) -> int:
        return 0xFF

    def write_byte(self, offset: int, value: int) -> None:
        self.reset()
