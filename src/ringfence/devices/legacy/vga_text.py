"""What a text console needs of a VGA: IBM VGA Technical Reference, CRT controller and input status.

The text itself is in memory at 0xB8000, which is RAM here; these registers hold where it starts and
where the cursor is. There is no picture: a monitor's timing is accepted and ignored.
"""

from __future__ import annotations

from ringfence.devices.legacy.registers import ByteRegisters

INDEX, DATA, STATUS = range(3)
_REGISTERS = 25
_START_HIGH, _CURSOR_HIGH = 0x0C, 0x0E
#: display disabled (in a retrace), and in the vertical one
STATUS_BLANK, STATUS_RETRACE = 0x01, 0x08


class VgaText(ByteRegisters):
    """The CRT controller's registers, and a status that goes in and out of retrace with each read."""

    STATE = ("index", "registers", "status")

    def __init__(self, name: str = "vga-text") -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        self.index = 0
        self.registers = [0] * _REGISTERS
        self.status = 0

    @property
    def start(self) -> int:
        """The first character shown, counted from the text's beginning."""
        return self.registers[_START_HIGH] << 8 | self.registers[_START_HIGH + 1]

    @property
    def cursor(self) -> int:
        """The character under the cursor, likewise."""
        return self.registers[_CURSOR_HIGH] << 8 | self.registers[_CURSOR_HIGH + 1]

    def read_byte(self, offset: int) -> int:
        if offset == INDEX:
            return self.index
        if offset == DATA:
            return self.registers[self.index] if self.index < _REGISTERS else 0
        self.status ^= STATUS_BLANK | STATUS_RETRACE
        return self.status

    def write_byte(self, offset: int, value: int) -> None:
        if offset == INDEX:
            self.index = value
        elif offset == DATA and self.index < _REGISTERS:
            self.registers[self.index] = value
