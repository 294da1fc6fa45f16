"""Ports for debugging that PCs and emulators agreed on.

The POST port of the IBM PC/AT (0x80), the emulators' debug console (0xe9, 0x402) and the port
through which a test ends its virtual machine (isa-debug-exit, 0xf4).
"""

from __future__ import annotations

from collections.abc import Callable

from ringfence.devices.legacy.registers import ByteRegisters


class PostPort(ByteRegisters):
    """Remembers the last power-on self-test code; also what a guest writes to for a delay."""

    STATE = ("code",)

    def __init__(self, on_code: Callable[[int], object] | None = None, name: str = "post") -> None:
        self.name = name
        self.on_code = on_code
        self.code = 0

    def reset(self) -> None:
        self.code = 0

    def read_byte(self, offset: int) -> int:
        return self.code

    def write_byte(self, offset: int, value: int) -> None:
        self.code = value
        if self.on_code is not None:
            self.on_code(value)


class DebugConsole(ByteRegisters):
    """Each byte written is output; a read gives ``signature``, by which guests find the port."""

    def __init__(
        self, output: Callable[[bytes], object], signature: int = 0xE9, name: str = "debug-console"
    ) -> None:
        self.name = name
        self.output = output
        self.signature = signature

    def reset(self) -> None:
        """It has no state."""

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self.output((value & (1 << 8 * size_bytes) - 1).to_bytes(size_bytes, "little"))

    def read_byte(self, offset: int) -> int:
        return self.signature


class DebugExit(ByteRegisters):
    """A write of n ends the virtual machine with exit status ``n << 1 | 1``, never 0."""

    def __init__(self, on_exit: Callable[[int], object], name: str = "debug-exit") -> None:
        self.name = name
        self.on_exit = on_exit

    def reset(self) -> None:
        """It has no state."""

    def read_byte(self, offset: int) -> int:
        return 0

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self.on_exit(value)
