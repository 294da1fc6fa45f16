"""PS/2 devices at the end of their cable: keyboard and mouse.

IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard" and "Mouse": each byte
from the host is answered with ACK, RESEND or data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ringfence.devices.device import Record
from ringfence.devices.legacy import keymap
from ringfence.devices.legacy.registers import restore_fields, save_fields

ACK, RESEND, SELF_TEST_PASSED, ECHO = 0xFA, 0xFE, 0xAA, 0xEE
#: Keystrokes that wait for the guest; a guest that never reads them stops the typist, not the host.
EVENT_LIMIT = 1024
REPLY_LIMIT = 16

CMD_RESET, CMD_RESEND, CMD_DEFAULTS, CMD_DISABLE, CMD_ENABLE = 0xFF, 0xFE, 0xF6, 0xF5, 0xF4
CMD_RATE, CMD_IDENTIFY = 0xF3, 0xF2
#: A byte from here on is a command even where a parameter is due.
COMMANDS_FROM = 0xE6
KBD_SCAN_SET, KBD_ECHO, KBD_LEDS = 0xF0, 0xEE, 0xED
KBD_KEY_TYPES = range(0xF7, 0xFE)
MOUSE_RESOLUTION, MOUSE_SCALE_1, MOUSE_SCALE_2, MOUSE_STATUS, MOUSE_READ = 0xE8, 0xE6, 0xE7, 0xE9, 0xEB
MOUSE_STREAM, MOUSE_REMOTE = 0xEA, 0xF0


class Ps2Device:
    """What both have in common: replies before events, and an event is never cut in two."""

    #: commands that are followed by one byte more
    PARAMETER_COMMANDS: frozenset[int] = frozenset()
    STATE: tuple[str, ...] = ("is_enabled", "command", "last_sent")

    def __init__(self) -> None:
        #: called when there may be something new to take
        self.on_data: Callable[[], object] = lambda: None
        self._replies: deque[int] = deque(maxlen=REPLY_LIMIT)
        self._events: deque[bytes] = deque()
        self._sending: deque[int] = deque()
        self.reset()

    def reset(self) -> None:
        """Power-on, and the reset command."""
        self.is_enabled = True
        #: the command that waits for its parameter, or 0
        self.command = 0
        self.last_sent = 0
        self._replies.clear()
        self._events.clear()
        self._sending.clear()

    def write(self, value: int) -> None:
        """A byte from the host."""
        command, self.command = self.command, 0
        if command and value < COMMANDS_FROM:
            self._parameter(command, value)
        elif value == CMD_RESEND:
            self.reply(self.last_sent)
        elif value == CMD_RESET:
            self.reset()
            self.reply(ACK, SELF_TEST_PASSED, *self._after_reset())
        elif value in (CMD_ENABLE, CMD_DISABLE, CMD_DEFAULTS):
            self.is_enabled = value != CMD_DISABLE
            if value != CMD_ENABLE:
                self._set_defaults()
            self.reply(ACK)
        elif value in self.PARAMETER_COMMANDS:
            self.command = value
            self.reply(ACK)
        else:
            self._command(value)

    def _after_reset(self) -> tuple[int, ...]:
        return ()

    def _set_defaults(self) -> None:
        """Rates and the like; a device that keeps some resets them here."""

    def _parameter(self, command: int, value: int) -> None:
        self.reply(ACK)

    def _command(self, value: int) -> None:
        self.reply(RESEND)

    def reply(self, *values: int) -> None:
        self._replies.extend(values)
        self.on_data()

    def take(self) -> int | None:
        """The next byte on the wire."""
        if self._sending:
            value = self._sending.popleft()
        elif self._replies:
            value = self._replies.popleft()
        elif self._events and self.is_enabled:
            self._sending.extend(self._events.popleft())
            value = self._sending.popleft()
        else:
            return None
        self.last_sent = value
        return value

    def save(self) -> Record:
        queues = {
            "replies": list(self._replies),
            "events": list(self._events),
            "sending": list(self._sending),
        }
        return save_fields(self, self.STATE) | queues

    def restore(self, record: Record) -> None:
        restore_fields(self, record, self.STATE)
        self._replies = deque(record["replies"], maxlen=REPLY_LIMIT)
        self._events = deque(record["events"])
        self._sending = deque(record["sending"])


class Keyboard(Ps2Device):
    """A US keyboard on which the host can type."""

    PARAMETER_COMMANDS = frozenset((KBD_LEDS, KBD_SCAN_SET, CMD_RATE))
    STATE = (*Ps2Device.STATE, "scan_set", "leds")

    def reset(self) -> None:
        super().reset()
        self.scan_set = 2
        #: bit 0 scroll lock, 1 num lock, 2 caps lock
        self.leds = 0

    def key(self, name: str, is_down: bool) -> bool:
        """One key goes down or up. False: the guest does not read, and it was not taken.

        Raises:
            ValueError: there is no such key.
        """
        return self._type([(name, is_down)])

    def press(self, *names: str) -> bool:
        """Keys go down in this order and up again: ``press("ctrl", "alt", "delete")``."""
        return self._type([(name, True) for name in names] + [(name, False) for name in reversed(names)])

    def type_text(self, text: str) -> int:
        """Type on the US layout; how many characters were taken. A character with no key is skipped."""
        for count, character in enumerate(text):
            key, has_shift = keymap.CHARACTERS.get(character, ("", False))
            if key and not self.press(*(("shift", key) if has_shift else (key,))):
                return count
        return len(text)

    def _type(self, strokes: list[tuple[str, bool]]) -> bool:
        for name, _ in strokes:
            if not keymap.is_key(name):
                raise ValueError(f"no such key: {name!r}")
        if len(self._events) + len(strokes) > EVENT_LIMIT:
            return False
        sequences = (keymap.encode(name, is_down, self.scan_set) for name, is_down in strokes)
        self._events.extend(filter(None, sequences))
        self.on_data()
        return True

    def _set_defaults(self) -> None:
        self.scan_set = 2

    def _parameter(self, command: int, value: int) -> None:
        if command == KBD_SCAN_SET and value == 0:
            self.reply(ACK, self.scan_set)
        elif command == KBD_SCAN_SET and value > 3:
            self.reply(RESEND)
        else:
            if command == KBD_SCAN_SET:
                self.scan_set = value
            elif command == KBD_LEDS:
                self.leds = value & 7
            self.reply(ACK)

    def _command(self, value: int) -> None:
        if value == CMD_IDENTIFY:
            self.reply(ACK, 0xAB, 0x83)
        elif value == KBD_ECHO:
            self.reply(ECHO)
        elif value in KBD_KEY_TYPES:
            self.reply(ACK)
        else:
            self.reply(RESEND)


class Mouse(Ps2Device):
    """A mouse that nobody moves: it can be found, set up and asked."""

    PARAMETER_COMMANDS = frozenset((CMD_RATE, MOUSE_RESOLUTION))
    STATE = (*Ps2Device.STATE, "rate", "resolution", "is_double")

    def reset(self) -> None:
        super().reset()
        self.is_enabled = False
        self._set_defaults()

    def _after_reset(self) -> tuple[int, ...]:
        return (0,)

    def _set_defaults(self) -> None:
        self.rate, self.resolution, self.is_double = 100, 2, False

    def _parameter(self, command: int, value: int) -> None:
        if command == CMD_RATE:
            self.rate = value
        else:
            self.resolution = value & 3
        self.reply(ACK)

    def _command(self, value: int) -> None:
        if value == CMD_IDENTIFY:
            self.reply(ACK, 0)
        elif value in (MOUSE_SCALE_1, MOUSE_SCALE_2):
            self.is_double = value == MOUSE_SCALE_2
            self.reply(ACK)
        elif value == MOUSE_STATUS:
            self.reply(ACK, self.is_enabled << 5 | self.is_double << 4, self.resolution, self.rate)
        elif value == MOUSE_READ:
            self.reply(ACK, 0x08, 0, 0)
        elif value in (MOUSE_STREAM, MOUSE_REMOTE):
            self.reply(ACK)
        else:
            self.reply(RESEND)
