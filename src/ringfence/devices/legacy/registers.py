"""What the devices of the PC's 8-bit ISA bus have in common."""

from __future__ import annotations

from typing import ClassVar

from ringfence.devices.device import Record


class ByteRegisters:
    """Registers one byte wide; a wider access is that many byte accesses, as on the ISA bus.

    A subclass names in ``STATE`` the attributes that make up its saved state: plain values,
    and lists of them.
    """

    name: str
    STATE: ClassVar[tuple[str, ...]] = ()

    def read(self, offset: int, size_bytes: int) -> int:
        if size_bytes == 1:
            return self.read_byte(offset)
        return int.from_bytes([self.read_byte(offset + i) for i in range(size_bytes)], "little")

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        if size_bytes == 1:
            self.write_byte(offset, value & 0xFF)
            return
        for i in range(size_bytes):
            self.write_byte(offset + i, value >> 8 * i & 0xFF)

    def read_byte(self, offset: int) -> int:
        raise NotImplementedError

    def write_byte(self, offset: int, value: int) -> None:
        raise NotImplementedError

    def save(self) -> Record:
        return save_fields(self, self.STATE)

    def restore(self, record: Record) -> None:
        restore_fields(self, record, self.STATE)


def save_fields(device: object, names: tuple[str, ...]) -> Record:
    """The named attributes; a list is copied, so that the record stands still."""
    values = ((name, getattr(device, name)) for name in names)
    return {name: list(value) if isinstance(value, list) else value for name, value in values}


def restore_fields(device: object, record: Record, names: tuple[str, ...]) -> None:
    for name in names:
        value = record[name]
        setattr(device, name, list(value) if isinstance(value, list) else value)
