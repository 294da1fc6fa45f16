"""The PC's ways to be reset: the reset control register (82371SB, port 0xcf9), and port 0x92."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.devices.legacy.registers import ByteRegisters

RESET_CPU, RESET_WRITABLE = 0x04, 0x0E
FAST_RESET, FAST_A20 = 0x01, 0x02


class ResetControl(ByteRegisters):
    """A rising RST_CPU bit resets the machine; hard or soft is the same here."""

    STATE = ("value",)

    def __init__(self, on_reset: Callable[[], object], name: str = "reset-control") -> None:
        self.name = name
        self._on_reset = on_reset
        self.value = 0

    def reset(self) -> None:
        self.value = 0

    def read_byte(self, offset: int) -> int:
        return self.value

    def write_byte(self, offset: int, value: int) -> None:
        is_rising = value & ~self.value & RESET_CPU
        self.value = value & RESET_WRITABLE
        if is_rising:
            self._on_reset()


class FastA20(ByteRegisters):
    """Port 0x92: bit 0 resets the processor. The A20 bit is kept; address line 20 is never masked."""

    STATE = ("value",)

    def __init__(self, on_reset: Callable[[], object], name: str = "fast-a20") -> None:
        self.name = name
        self._on_reset = on_reset
        self.value = FAST_A20

    def reset(self) -> None:
        self.value = FAST_A20

    def read_byte(self, offset: int) -> int:
        return self.value

    def write_byte(self, offset: int, value: int) -> None:
        is_rising = value & ~self.value & FAST_RESET
        self.value = value & (FAST_RESET | FAST_A20)
        if is_rising:
            self._on_reset()
