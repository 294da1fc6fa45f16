"""The configuration space of one function: 256 bytes, some of whose bits can be written.

PCI Local Bus 3.0, chapter 6 (type 0 header, section 6.1; capabilities list, 6.7)::

    00  device id        vendor id        04  status           command
    08  class code (24)  revision         0c  -  header type  -  -
    10  base address registers 0 to 5 (24 bytes)
    2c  subsystem id     subsystem vendor 34  capabilities pointer
    3c  -  -  interrupt pin  interrupt line

A base address register (BAR) needs no code of its own: only the bits above its size can be
written, so a guest that writes all ones reads the size back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ringfence.devices.pci.capability import HEADER_BYTES, Capability

SIZE_BYTES = 256

COMMAND = 0x04
STATUS = 0x06
BAR0 = 0x10
BARS_END = 0x28
CAPABILITIES_POINTER = 0x34
INTERRUPT_LINE = 0x3C
INTERRUPT_PIN = 0x3D
FIRST_CAPABILITY = 0x40

COMMAND_IO = 1 << 0
COMMAND_MEMORY = 1 << 1
COMMAND_MASTER = 1 << 2
COMMAND_PARITY = 1 << 6
COMMAND_SERR = 1 << 8
COMMAND_INTX_DISABLE = 1 << 10
_COMMAND_WRITABLE = (
    COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE
)

STATUS_INTERRUPT = 1 << 3
STATUS_CAPABILITIES = 1 << 4


@dataclass(frozen=True)
class Identity:
    """Who a function says it is."""

    vendor_id: int
    device_id: int
    #: base class, sub-class and programming interface, 8 bits each
    class_code: int
    revision: int = 0
    subsystem_vendor_id: int = 0
    subsystem_id: int = 0


class ConfigSpace:
    """Registers as bytes, with a mask of the bits that a guest's write changes."""

    def __init__(self, identity: Identity, interrupt_pin: int = 0) -> None:
        self.data = bytearray(SIZE_BYTES)
        self._writable = bytearray(SIZE_BYTES)
        #: (start, end, capability)
        self._capabilities: list[tuple[int, int, Capability]] = []
        struct.pack_into("<HH", self.data, 0, identity.vendor_id, identity.device_id)
        struct.pack_into("<I", self.data, 8, identity.class_code << 8 | identity.revision)
        struct.pack_into("<HH", self.data, 0x2C, identity.subsystem_vendor_id, identity.subsystem_id)
        self.data[INTERRUPT_PIN] = interrupt_pin
        self._writable[INTERRUPT_LINE] = 0xFF
        self._writable[0x0C] = 0xFF  # cache line size: has no effect, and firmware expects to set it
        struct.pack_into("<H", self._writable, COMMAND, _COMMAND_WRITABLE)

    def add_capability(self, capability: Capability) -> int:
        """Append an entry to the list; returns its offset."""
        start = FIRST_CAPABILITY
        link = CAPABILITIES_POINTER
        if self._capabilities:
            last_start, last_end, _ = self._capabilities[-1]
            start, link = (last_end + 3) & ~3, last_start + 1
        end = start + HEADER_BYTES + len(capability.body)
        if end > SIZE_BYTES:
            raise ValueError(f"no room for capability {capability.id:#x}")
        self.data[start] = capability.id
        self.data[start + HEADER_BYTES : end] = capability.body
        self._writable[start + HEADER_BYTES : end] = capability.writable
        self.data[link] = start
        self.data[STATUS] |= STATUS_CAPABILITIES
        capability.registers = memoryview(self.data)[start:end]
        self._capabilities.append((start, end, capability))
        return start

    def add_bar(self, index: int, size_bytes: int, type_bits: int, is_64_bit: bool = False) -> None:
        """Make BAR ``index`` ask for ``size_bytes`` (a power of two)."""
        offset = BAR0 + 4 * index
        width = 8 if is_64_bit else 4
        writable = -size_bytes & ((1 << 8 * width) - 1)
        self._writable[offset : offset + width] = writable.to_bytes(width, "little")
        self.data[offset] = type_bits

    def get(self, offset: int, size_bytes: int) -> int:
        return int.from_bytes(self.data[offset : offset + size_bytes], "little")

    def set(self, offset: int, size_bytes: int, value: int) -> None:
        """Write as the hardware itself does, with no mask."""
        self.data[offset : offset + size_bytes] = value.to_bytes(size_bytes, "little")

    def read(self, offset: int, size_bytes: int) -> int:
        """A guest's read. Beyond the 256 bytes there is nothing: all ones."""
        if offset + size_bytes > SIZE_BYTES:
            return (1 << 8 * size_bytes) - 1
        for start, end, capability in self._capabilities:
            if start < offset + size_bytes and offset < end:
                capability.before_read(offset - start, size_bytes)
        return self.get(offset, size_bytes)

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        """A guest's write: changes the writable bits only."""
        if offset + size_bytes > SIZE_BYTES:
            return
        for at in range(offset, offset + size_bytes):
            mask = self._writable[at]
            self.data[at] = self.data[at] & ~mask | value & mask
            value >>= 8
        for start, end, capability in self._capabilities:
            if start < offset + size_bytes and offset < end:
                capability.after_write(offset - start, size_bytes)
