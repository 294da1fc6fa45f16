"""virtio over PCI: capabilities, BARs and interrupts around a virtio device.

VIRTIO 1.2, section 4.1, modern only (revision 1, no legacy port interface)::

    BAR 0  0x0000 common configuration     0x1000 ISR status
           0x2000 device configuration     0x3000 notification, 4 bytes a queue
    BAR 1  MSI-X table and pending bits

The last capability is a window on the BARs through configuration space, for drivers that can't
map memory yet.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.devices.device import Record
from ringfence.devices.pci.capability import Capability
from ringfence.devices.pci.config_space import Identity
from ringfence.devices.pci.function import Bar, PciFunction
from ringfence.devices.pci.msix import BAR_BYTES as MSIX_BAR_BYTES
from ringfence.devices.pci.msix import MsiX, SendMsi
from ringfence.devices.virtio import common_config
from ringfence.devices.virtio.common_config import CommonConfig
from ringfence.devices.virtio.device import VirtioDevice

VENDOR_ID = 0x1AF4
DEVICE_ID_BASE = 0x1040
SUBSYSTEM_ID_BASE = 0x40

_VENDOR_CAPABILITY = 0x09
_COMMON, _NOTIFY, _ISR, _DEVICE, _PCI_CFG = 1, 2, 3, 4, 5

BAR_BYTES = 0x4000
COMMON_OFFSET = 0x0000
ISR_OFFSET = 0x1000
DEVICE_OFFSET = 0x2000
NOTIFY_OFFSET = 0x3000
NOTIFY_MULTIPLIER = 4

ISR_QUEUE = 1
ISR_CONFIG = 2

#: Calls something later, on the vCPU thread, not from inside the call to it.
Post = Callable[[Callable[[], None]], None]


class VirtioPci(PciFunction):
    """A virtio device as a PCI function: add it to the root bus. Itself the device behind BAR 0."""

    def __init__(self, device: VirtioDevice, memory: GuestMemory, send_msi: SendMsi, post: Post) -> None:
        queues = len(device.queue_sizes)
        self.device = device
        self.msix = MsiX(device.name, queues + 1, 1, send_msi)
        self.common = CommonConfig(device, memory, self.msix.vectors, self._interrupt, self._again)
        self._post = post
        self._posted: set[int] = set()
        self._isr = 0
        identity = Identity(
            VENDOR_ID,
            DEVICE_ID_BASE + device.device_type,
            device.class_code,
            revision=1,
            subsystem_vendor_id=VENDOR_ID,
            subsystem_id=SUBSYSTEM_ID_BASE + device.device_type,
        )
        super().__init__(
            device.name,
            identity,
            bars={0: Bar(self, BAR_BYTES), 1: Bar(self.msix, MSIX_BAR_BYTES)},
            capabilities=[
                self.msix,
                _structure(_COMMON, COMMON_OFFSET, common_config.SIZE_BYTES),
                _structure(_ISR, ISR_OFFSET, 1),
                _structure(_DEVICE, DEVICE_OFFSET, max(len(device.config()), 4)),
                _structure(
                    _NOTIFY,
                    NOTIFY_OFFSET,
                    queues * NOTIFY_MULTIPLIER,
                    NOTIFY_MULTIPLIER.to_bytes(4, "little"),
                ),
                _BarWindow(self),
            ],
            interrupt_pin=1,
        )

    # BAR 0.

    def read(self, offset: int, size_bytes: int) -> int:
        region, offset = offset & ~0xFFF, offset & 0xFFF
        if region == COMMON_OFFSET:
            return self.common.read(offset, size_bytes)
        if region == ISR_OFFSET and offset == 0:
            isr, self._isr = self._isr, 0
            self.update_intx()
            return isr
        if region == DEVICE_OFFSET:
            return int.from_bytes(self.device.config()[offset : offset + size_bytes], "little")
        return 0

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        region, offset = offset & ~0xFFF, offset & 0xFFF
        if region == COMMON_OFFSET:
            self.common.write(offset, size_bytes, value)
            if self.common.status == 0:
                self._isr = 0
                self.update_intx()
        elif region == DEVICE_OFFSET:
            value &= (1 << 8 * size_bytes) - 1
            self.device.write_config(offset, value.to_bytes(size_bytes, "little"))
        elif region == NOTIFY_OFFSET:
            self._notify(offset // NOTIFY_MULTIPLIER)

    # Queues.

    def _notify(self, index: int) -> None:
        if index < len(self.common.queues) and self.common.queues[index].is_running:
            self.device.notify(index)

    def _again(self, index: int) -> None:
        """Once a queue at a time: a guest can't pile up posted work."""
        if index not in self._posted:
            self._posted.add(index)
            self._post(lambda: self._run_posted(index))

    def _run_posted(self, index: int) -> None:
        self._posted.discard(index)
        self._notify(index)

    # Interrupts.

    def _interrupt(self, vector: int, is_config: bool) -> None:
        if self.msix.is_enabled:
            self.msix.notify(vector)
        else:
            self._isr |= ISR_CONFIG if is_config else ISR_QUEUE
            self.update_intx()

    @property
    def intx_is_pending(self) -> bool:
        return self._isr != 0 and not self.msix.is_enabled

    # State.

    def save(self) -> Record:
        return {
            **super().save(),
            "isr": self._isr,
            "posted": sorted(self._posted),
            "msix": self.msix.save(),
            "common": self.common.save(),
            "device": self.device.save(),
        }

    def restore(self, record: Record) -> None:
        super().restore(record)
        isr, posted = record["isr"], record["posted"]
        msix, common, device = record["msix"], record["common"], record["device"]
        assert isinstance(isr, int) and isinstance(posted, list)
        assert isinstance(msix, dict) and isinstance(common, dict) and isinstance(device, dict)
        self._isr = isr
        self.msix.restore(msix)
        self.common.restore(common)
        self.device.restore(device)
        for index in posted:
            self._again(index)
        self.update_intx()

    def reset(self) -> None:
        self._isr = 0
        self.msix.reset()
        self.common.reset()
        super().reset()

    # Metrics.

    def metrics(self) -> dict[str, int]:
        return {**super().metrics(), **self.common.metrics(), **self.device.metrics()}


def _structure(kind: int, offset: int, length: int, extra: bytes = b"") -> Capability:
    """Where one structure is: ``cap_len cfg_type bar id pad[2] offset length``, section 4.1.4."""
    body = struct.pack("<BBBBHII", 16 + len(extra), kind, 0, 0, 0, offset, length) + extra
    return Capability(_VENDOR_CAPABILITY, body)


class _BarWindow(Capability):
    """PCI configuration access, section 4.1.4.9: bar, offset and length select, data transfers."""

    _DATA = 16

    def __init__(self, function: PciFunction) -> None:
        body = struct.pack("<BBBBHIII", 20, _PCI_CFG, 0, 0, 0, 0, 0, 0)
        writable = struct.pack("<BBBBHIII", 0, 0, 0xFF, 0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF)
        super().__init__(_VENDOR_CAPABILITY, body, writable)
        self._function = function

    def _selected(self) -> tuple[Bar, int, int] | None:
        """The BAR, offset and length, if they make an access that the BAR could see."""
        index, offset, length = struct.unpack_from("<4xB3xII", self.registers)
        bar = self._function.bars.get(index)
        if bar is None or length not in (1, 2, 4) or offset % length or offset + length > bar.size_bytes:
            return None
        return bar, offset, length

    def before_read(self, offset: int, size_bytes: int) -> None:
        if offset + size_bytes > self._DATA and (target := self._selected()):
            bar, at, length = target
            value = bar.device.read(at, length) & 0xFFFF_FFFF
            self.registers[self._DATA :] = value.to_bytes(4, "little")

    def after_write(self, offset: int, size_bytes: int) -> None:
        if offset + size_bytes > self._DATA and (target := self._selected()):
            bar, at, length = target
            data = bytes(self.registers[self._DATA : self._DATA + length])
            bar.device.write(at, length, int.from_bytes(data, "little"))
