"""The keyboard controller: IBM PC/AT and PS/2 Technical Reference, "Keyboard Controller"; Intel 8042."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy import keymap
from ringfence.devices.legacy.ps2 import Keyboard, Mouse
from ringfence.devices.legacy.registers import ByteRegisters

DATA, COMMAND = 0, 4

STATUS_FULL, STATUS_SYSTEM, STATUS_COMMAND, STATUS_UNLOCKED, STATUS_AUX = 0x01, 0x04, 0x08, 0x10, 0x20
CB_IRQ1, CB_IRQ12, CB_SYSTEM, CB_KBD_OFF, CB_AUX_OFF, CB_TRANSLATE = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40
#: The command byte as firmware leaves it: keyboard on and translated, mouse off.
CB_INITIAL = CB_IRQ1 | CB_SYSTEM | CB_AUX_OFF | CB_TRANSLATE
OUT_NO_RESET, OUT_A20, OUT_FULL, OUT_AUX, OUT_WIRES = 0x01, 0x02, 0x10, 0x20, 0xC0

(
    CMD_READ_RAM, CMD_WRITE_RAM, CMD_PASSWORD, CMD_AUX_OFF, CMD_AUX_ON, CMD_AUX_TEST, CMD_SELF_TEST,
    CMD_KBD_TEST, CMD_KBD_OFF, CMD_KBD_ON, CMD_READ_INPUT, CMD_READ_OUTPUT, CMD_WRITE_OUTPUT,
    CMD_WRITE_KBD_BUFFER, CMD_WRITE_AUX_BUFFER, CMD_WRITE_AUX, CMD_A20_OFF, CMD_A20_ON, CMD_PULSE,
) = (
    0x20, 0x60, 0xA4, 0xA7, 0xA8, 0xA9, 0xAA,
    0xAB, 0xAD, 0xAE, 0xC0, 0xD0, 0xD1,
    0xD2, 0xD3, 0xD4, 0xDD, 0xDF, 0xF0,
)  # fmt: skip

CMDS_WITH_DATA = frozenset(
    (*range(CMD_WRITE_RAM, CMD_WRITE_RAM + 32), *range(CMD_WRITE_OUTPUT, CMD_WRITE_AUX + 1))
)
REPLY_LIMIT = 16


class I8042(ByteRegisters):
    """Data at offset 0, status and command at offset 4 (ports 0x60 and 0x64)."""

    STATE = ("ram", "command", "is_full", "is_aux", "data", "is_last_command", "output_port", "top_bit")

    def __init__(
        self,
        keyboard_line: Line,
        mouse_line: Line,
        on_reset: Callable[[], object],
        name: str = "i8042",
    ) -> None:
        self.name = name
        self.keyboard_line = keyboard_line
        self.mouse_line = mouse_line
        self._on_reset = on_reset
        self.keyboard = Keyboard()
        self.mouse = Mouse()
        self._replies: deque[tuple[int, bool]] = deque(maxlen=REPLY_LIMIT)
        self.reset()
        self.keyboard.on_data = self.mouse.on_data = self._fill

    def reset(self) -> None:
        #: the command byte is cell 0
        self.ram = [CB_INITIAL] + [0] * 31
        #: the command that waits for a byte at the data port, or 0
        self.command = 0
        self.is_full = self.is_aux = self.is_last_command = False
        self.data = 0
        self.output_port = OUT_NO_RESET | OUT_A20
        #: the keyboard's break prefix was seen, with translation on
        self.top_bit = 0
        self._replies.clear()
        self.keyboard.reset()
        self.mouse.reset()
        self._update_lines()

    def read_byte(self, offset: int) -> int:
        return self._read_data() if offset == DATA else self._status()

    def write_byte(self, offset: int, value: int) -> None:
        self.is_last_command = offset == COMMAND
        if offset == COMMAND:
            self.command = 0
            self._write_command(value)
        elif offset == DATA:
            self._write_data(value)
        self._fill()

    def _status(self) -> int:
        return (
            STATUS_UNLOCKED
            | (STATUS_FULL if self.is_full else 0)
            | (STATUS_AUX if self.is_full and self.is_aux else 0)
            | (STATUS_SYSTEM if self.ram[0] & CB_SYSTEM else 0)
            | (STATUS_COMMAND if self.is_last_command else 0)
        )

    def _read_data(self) -> int:
        self.is_full = False
        self._update_lines()
        value = self.data
        self._fill()
        return value

    def _write_command(self, value: int) -> None:
        if CMD_READ_RAM <= value < CMD_READ_RAM + 32:
            self._reply(self.ram[value & 31])
        elif value in CMDS_WITH_DATA:
            self.command = value
        elif value in (CMD_KBD_OFF, CMD_AUX_OFF):
            self.ram[0] |= CB_KBD_OFF if value == CMD_KBD_OFF else CB_AUX_OFF
        elif value in (CMD_KBD_ON, CMD_AUX_ON):
            self.ram[0] &= ~(CB_KBD_OFF if value == CMD_KBD_ON else CB_AUX_OFF)
        elif value == CMD_SELF_TEST:
            self.ram[0] |= CB_SYSTEM
            self._reply(0x55)
        elif value in (CMD_KBD_TEST, CMD_AUX_TEST):
            self._reply(0x00)
        elif value == CMD_PASSWORD:
            self._reply(0xF1)  # none is set
        elif value == CMD_READ_INPUT:
            self._reply(0x80)  # not locked
        elif value == CMD_READ_OUTPUT:
            self._reply(self._read_output_port())
        elif value in (CMD_A20_OFF, CMD_A20_ON):
            self.output_port = self.output_port & ~OUT_A20 | (OUT_A20 if value == CMD_A20_ON else 0)
        elif value >= CMD_PULSE and not value & OUT_NO_RESET:
            self._on_reset()

    def _write_data(self, value: int) -> None:
        command, self.command = self.command, 0
        if command == 0:
            self.ram[0] &= ~CB_KBD_OFF
            self.keyboard.write(value)
        elif command == CMD_WRITE_AUX:
            self.ram[0] &= ~CB_AUX_OFF
            self.mouse.write(value)
        elif command == CMD_WRITE_KBD_BUFFER:
            self._reply(value)
        elif command == CMD_WRITE_AUX_BUFFER:
            self._replies.append((value, True))
        elif command == CMD_WRITE_OUTPUT:
            # The A20 bit is kept; address line 20 is never masked.
            self.output_port = value & (OUT_NO_RESET | OUT_A20)
            if not value & OUT_NO_RESET:
                self._on_reset()
        else:
            self.ram[command & 31] = value
            self._update_lines()

    def _read_output_port(self) -> int:
        full = (OUT_AUX if self.is_aux else OUT_FULL) if self.is_full else 0
        return self.output_port | full | OUT_WIRES

    def _reply(self, value: int) -> None:
        self._replies.append((value, False))

    def _fill(self) -> None:
        """Put the next byte into the output buffer, if it is empty."""
        if self.is_full:
            return
        if self._replies:
            self.data, self.is_aux = self._replies.popleft()
        elif not self.ram[0] & CB_KBD_OFF and (value := self._take_key()) is not None:
            self.data, self.is_aux = value, False
        elif not self.ram[0] & CB_AUX_OFF and (value := self.mouse.take()) is not None:
            self.data, self.is_aux = value, True
        else:
            return
        self.is_full = True
        self._update_lines()

    def _take_key(self) -> int | None:
        value = self.keyboard.take()
        if not self.ram[0] & CB_TRANSLATE or value is None:
            return value
        if value == keymap.BREAK:
            self.top_bit = 0x80
            value = self.keyboard.take()
            if value is None:
                return None
        value = keymap.to_set_1(value) | self.top_bit
        self.top_bit = 0
        return value

    def _update_lines(self) -> None:
        enabled = self.ram[0]
        self.keyboard_line.set(self.is_full and not self.is_aux and bool(enabled & CB_IRQ1))
        self.mouse_line.set(self.is_full and self.is_aux and bool(enabled & CB_IRQ12))

    def save(self) -> Record:
        return super().save() | {
            "replies": [list(reply) for reply in self._replies],
            "keyboard": self.keyboard.save(),
            "mouse": self.mouse.save(),
        }

    def restore(self, record: Record) -> None:
        super().restore(record)
        self._replies = deque((tuple(reply) for reply in record["replies"]), maxlen=REPLY_LIMIT)
        self.keyboard.restore(record["keyboard"])
        self.mouse.restore(record["mouse"])
        self._update_lines()
