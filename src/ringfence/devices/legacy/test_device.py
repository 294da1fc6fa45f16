"""The device by which kvm-unit-tests probe a virtual machine (QEMU calls it pc-testdev).

A 32-bit latch behind ports 0xe0 (any size) and 0xe8 (byte by byte), a port 0xe4 that drops the
host's mapping of a page, interrupt lines that follow the bytes written to 0x2000 + n, and a
window of plain storage at 0xff000000.
"""

from __future__ import annotations

from collections.abc import Sequence

from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.legacy.registers import ByteRegisters

LATCH_PORTS, FLUSH_PORT, LATCH_BYTE_PORTS, LINE_PORTS = 0xE0, 0xE4, 0xE8, 0x2000
WINDOW_BASE, WINDOW_BYTES = 0xFF00_0000, 0x1_0000


class TestLatch(ByteRegisters):
    """Ports 0xe0-0xeb as offsets 0-11: the latch, the flush port, the latch again."""

    __test__ = False  # not a test case, whatever its name
    STATE = ("value",)

    def __init__(self, name: str = "test-latch") -> None:
        self.name = name
        self.value = 0

    def reset(self) -> None:
        self.value = 0

    def read_byte(self, offset: int) -> int:
        return 0xFF if offset & 4 else self.value >> 8 * (offset & 3) & 0xFF

    def write_byte(self, offset: int, value: int) -> None:
        # Nothing to do for a flush: guest RAM keeps its mapping for good.
        if not offset & 4:
            shift = 8 * (offset & 3)
            self.value = self.value & ~(0xFF << shift) | value << shift


class TestLines(ByteRegisters):
    """Port 0x2000 + n: the level of interrupt line n."""

    __test__ = False

    def __init__(self, lines: Sequence[Line], name: str = "test-lines") -> None:
        self.name = name
        self._lines = lines

    def reset(self) -> None:
        for line in self._lines:
            line.lower()

    def read_byte(self, offset: int) -> int:
        return 0xFF

    def write_byte(self, offset: int, value: int) -> None:
        if offset < len(self._lines):
            self._lines[offset].set(value != 0)


class TestWindow:
    """64 KiB that read back what was written, through exits instead of as RAM."""

    __test__ = False

    def __init__(self, name: str = "test-window") -> None:
        self.name = name
        self._bytes = bytearray(WINDOW_BYTES)

    def reset(self) -> None:
        self._bytes = bytearray(WINDOW_BYTES)

    def read(self, offset: int, size_bytes: int) -> int:
        return int.from_bytes(self._bytes[offset : offset + size_bytes], "little")

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        value &= (1 << 8 * size_bytes) - 1
        self._bytes[offset : offset + size_bytes] = value.to_bytes(size_bytes, "little")

    def save(self) -> Record:
        return {"bytes": bytes(self._bytes)}

    def restore(self, record: Record) -> None:
        self._bytes = bytearray(record["bytes"])
