"""The host bridge: how a processor's access becomes a configuration cycle on bus 0.

PCI Local Bus 3.0, section 3.2.2.3.2 (configuration mechanism 1) and PCI Express Base 2.0,
section 7.2.2 (enhanced configuration access mechanism, ECAM). The address that mechanism 1
latches in port 0xCF8, and an offset into the ECAM window::

    31      30..24  23..16  15..11  10..8     7..2      1..0
    enable    -      bus     slot   function  register   -

                    27..20  19..15  14..12    11..0
                     bus     slot   function  register
"""

from __future__ import annotations

from ringfence.devices.device import Device, Record
from ringfence.devices.pci.config_space import Identity
from ringfence.devices.pci.function import PciFunction
from ringfence.devices.pci.root import PciRoot

CONFIG_PORT = 0xCF8
CONFIG_PORTS = 8
ECAM_BUS_BYTES = 1 << 20

_DATA = 4
_RESET_CONTROL = 1
_ENABLE = 1 << 31
_ADDRESS_WRITABLE = 0x80FF_FFFC


def host_bridge() -> PciFunction:
    """The bridge's own function, for slot 0: the ids of QEMU's generic host bridge, which have no quirks."""
    return PciFunction("host-bridge", Identity(0x1B36, 0x0008, class_code=0x060000))


class ConfigPorts:
    """Configuration mechanism 1: the address and data ports at 0xCF8 to 0xCFF.

    Only a doubleword reaches the address register. The byte at 0xCF9 is another device on
    every PC, the reset control register; ``reset_control`` answers there at its offset 0.
    """

    name = "pci-config-ports"

    def __init__(self, root: PciRoot, reset_control: Device | None = None) -> None:
        self._root = root
        self._reset_control = reset_control
        self._address = 0

    def read(self, offset: int, size_bytes: int) -> int:
        if offset >= _DATA:
            if self._address & _ENABLE:
                return self._root.read_config(*self._target(offset), size_bytes)
        elif offset == 0 and size_bytes == 4:
            return self._address
        elif offset == _RESET_CONTROL and size_bytes == 1 and self._reset_control is not None:
            return self._reset_control.read(0, 1)
        return (1 << 8 * size_bytes) - 1

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        if offset >= _DATA:
            if self._address & _ENABLE:
                self._root.write_config(*self._target(offset), size_bytes, value)
        elif offset == 0 and size_bytes == 4:
            self._address = value & _ADDRESS_WRITABLE
        elif offset == _RESET_CONTROL and size_bytes == 1 and self._reset_control is not None:
            self._reset_control.write(0, 1, value)

    def _target(self, offset: int) -> tuple[int, int, int, int]:
        address = self._address
        register = (address & 0xFC) + offset - _DATA
        return address >> 16 & 0xFF, address >> 11 & 0x1F, address >> 8 & 7, register

    def save(self) -> Record:
        return {"address": self._address}

    def restore(self, record: Record) -> None:
        address = record["address"]
        assert isinstance(address, int)
        self._address = address

    def reset(self) -> None:
        self._address = 0


class EcamWindow:
    """ECAM: the configuration space of every function, laid out in memory, 1 MiB a bus."""

    name = "pci-ecam"

    def __init__(self, root: PciRoot) -> None:
        self._root = root

    def read(self, offset: int, size_bytes: int) -> int:
        return self._root.read_config(*self._target(offset), size_bytes)

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self._root.write_config(*self._target(offset), size_bytes, value)

    def _target(self, offset: int) -> tuple[int, int, int, int]:
        return offset >> 20, offset >> 15 & 0x1F, offset >> 12 & 7, offset & 0xFFF

    def save(self) -> Record:
        return {}

    def restore(self, record: Record) -> None:
        pass

    def reset(self) -> None:
        pass
