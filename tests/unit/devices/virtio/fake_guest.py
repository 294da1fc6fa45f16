"""A guest with a virtio driver: RAM, rings laid out in it, registers through PCI.

It finds everything the way a kernel does (capabilities, BARs, feature bits), so a wrong offset
in the transport shows here and not first in a boot.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ringfence.core.dma.virtqueue import RING_EVENT_IDX
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.devices.bus import Bus
from ringfence.devices.irq import Line
from ringfence.devices.pci import config_space as cs
from ringfence.devices.pci.assign import Window, assign
from ringfence.devices.pci.host_bridge import EcamWindow, host_bridge
from ringfence.devices.pci.root import PciRoot
from ringfence.devices.virtio.common_config import ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VERSION_1
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.devices.virtio.transport import VirtioPci

DESC_NEXT, DESC_WRITE, DESC_INDIRECT = 1, 2, 4
AVAIL_NO_INTERRUPT = 1
ECAM_BASE = 0xB000_0000
BARS_BASE = 0xC000_0000
RAM_BYTES = 1 << 20
#: where the rings end and the buffers of requests begin
BUFFERS_BASE = 0x2_0000
MSI_ADDRESS = 0xFEE0_0000


class FakeMemory(GuestMemory):
    """RAM at address 0, and a note of what was reported dirty."""

    def __init__(self, size_bytes: int = RAM_BYTES) -> None:
        self.add_ram(0, size_bytes)
        self.ram = self.view(0, size_bytes)
        self.dirty: list[tuple[int, int]] = []

    def dirtied(self, gpa: int, n: int) -> None:
        self.dirty.append((gpa, n))
        super().dirtied(gpa, n)

    def is_dirty(self, gpa: int, n: int) -> bool:
        """Every byte of the range was reported."""
        return all(any(at <= byte < at + size for at, size in self.dirty) for byte in range(gpa, gpa + n))


class Machine:
    """One virtio device on a PCI bus."""

    def __init__(self, device: VirtioDevice, memory: FakeMemory | None = None) -> None:
        self.memory = memory or FakeMemory()
        self.mmio = Bus("mmio", 1 << 40)
        self.pio = Bus("pio", 1 << 16)
        self.wires = [Line() for _ in range(4)]
        self.root = PciRoot(self.mmio, self.pio, self.wires)
        self.messages: list[tuple[int, int]] = []
        self.posted: list[Callable[[], None]] = []
        self.function = VirtioPci(
            device,
            self.memory,
            lambda address, data: self.messages.append((address, data)),
            self.posted.append,
        )
        self.root.add(host_bridge())
        self.slot = self.root.add(self.function)
        self.mmio.map(ECAM_BASE, 1 << 20, EcamWindow(self.root))
        self.assign()

    def assign(self) -> None:
        assign(self.root, Window(BARS_BASE, 1 << 24), Window(0xC000, 0x1000), (16, 17, 18, 19))

    @property
    def wire(self) -> Line:
        return self.wires[self.root.wire_of(self.slot)]

    def config(self, offset: int, size_bytes: int) -> int:
        return self.mmio.read(ECAM_BASE + (self.slot << 15) + offset, size_bytes)

    def set_config(self, offset: int, size_bytes: int, value: int) -> None:
        self.mmio.write(ECAM_BASE + (self.slot << 15) + offset, size_bytes, value)

    def run_posted(self) -> None:
        work, self.posted[:] = list(self.posted), []
        for call in work:
            call()


class Ring:
    """The driver's side of one queue: descriptors, available ring and used ring in guest RAM."""

    def __init__(self, memory: FakeMemory, base: int, size: int) -> None:
        self.memory = memory
        self.size = size
        self.descriptors = base
        self.available = base + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.index = 0
        self.seen = 0

    def describe(self, slot: int, gpa: int, length: int, flags: int, link: int = 0) -> None:
        self.put(self.descriptors + 16 * slot, "<QIHH", gpa, length, flags, link)

    def put(self, gpa: int, layout: str, *values: int) -> None:
        struct.pack_into(layout, self.memory.ram, gpa, *values)

    def get(self, gpa: int, layout: str) -> tuple[int, ...]:
        return struct.unpack_from(layout, self.memory.ram, gpa)

    def chain(self, buffers: list[tuple[int, int, bool]], first: int = 0) -> int:
        """Descriptors from slot ``first`` on for ``(gpa, length, is_writable)``; returns the head."""
        for n, (gpa, length, is_writable) in enumerate(buffers):
            more = n + 1 < len(buffers)
            flags = (DESC_WRITE if is_writable else 0) | (DESC_NEXT if more else 0)
            self.describe(first + n, gpa, length, flags, first + n + 1 if more else 0)
        return first

    def indirect(self, table: int, buffers: list[tuple[int, int, bool]], slot: int = 0) -> int:
        """The same as `chain`, in a table of its own at ``table``."""
        for n, (gpa, length, is_writable) in enumerate(buffers):
            more = n + 1 < len(buffers)
            flags = (DESC_WRITE if is_writable else 0) | (DESC_NEXT if more else 0)
            self.put(table + 16 * n, "<QIHH", gpa, length, flags, n + 1 if more else 0)
        self.describe(slot, table, 16 * len(buffers), DESC_INDIRECT)
        return slot

    def offer(self, *heads: int) -> None:
        for head in heads:
            self.put(self.available + 4 + 2 * (self.index % self.size), "<H", head)
            self.index = (self.index + 1) & 0xFFFF
        self.put(self.available + 2, "<H", self.index)

    def take(self) -> list[tuple[int, int]]:
        """The ``(head, length)`` pairs returned since the last time."""
        (index,) = self.get(self.used + 2, "<H")
        done = []
        while self.seen != index:
            head, length = self.get(self.used + 4 + 8 * (self.seen % self.size), "<II")
            done.append((head, length))
            self.seen = (self.seen + 1) & 0xFFFF
        return done

    @property
    def used_event(self) -> int:
        return self.available + 4 + 2 * self.size

    @property
    def avail_event(self) -> int:
        return self.get(self.used + 4 + 8 * self.size, "<H")[0]


class Driver:
    """Finds the structures, negotiates, sets the queues up."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.places: dict[int, int] = {}
        self.notify_multiplier = 0
        self.msix_offset = self.window_offset = 0
        self._walk_capabilities()
        self.rings: list[Ring] = []

    def _walk_capabilities(self) -> None:
        config = self.machine.config
        at = config(cs.CAPABILITIES_POINTER, 1)
        for _ in range(48):
            if not at:
                return
            kind = config(at, 1)
            if kind == 0x11:
                self.msix_offset = at
            elif kind == 0x09 and config(at + 3, 1) == 5:
                self.window_offset = at
            elif kind == 0x09:
                bar = config(cs.BAR0 + 4 * config(at + 4, 1), 4) & ~0xF
                self.places.setdefault(config(at + 3, 1), bar + config(at + 8, 4))
                if config(at + 3, 1) == 2:
                    self.notify_multiplier = config(at + 16, 4)
            at = config(at + 1, 1)
        raise AssertionError("the capabilities list has no end")

    # Registers.

    def read(self, offset: int, size_bytes: int) -> int:
        return self.machine.mmio.read(self.places[1] + offset, size_bytes)

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self.machine.mmio.write(self.places[1] + offset, size_bytes, value)

    @property
    def status(self) -> int:
        return self.read(0x14, 1)

    def isr(self) -> int:
        return self.machine.mmio.read(self.places[3], 1)

    def device_config(self, offset: int, size_bytes: int) -> int:
        return self.machine.mmio.read(self.places[4] + offset, size_bytes)

    def offered(self) -> int:
        features = 0
        for half in (0, 1):
            self.write(0, 4, half)
            features |= self.read(4, 4) << 32 * half
        return features

    def accept(self, features: int) -> None:
        for half in (0, 1):
            self.write(8, 4, half)
            self.write(12, 4, features >> 32 * half & 0xFFFF_FFFF)

    # Start.

    def start(
        self, features: int = 0, size: int = 16, event_idx: bool = False, vectors: bool = False
    ) -> None:
        """Reset, negotiate VERSION_1 and ``features``, set all queues up, say DRIVER_OK."""
        self.write(0x14, 1, 0)
        self.write(0x14, 1, ACKNOWLEDGE)
        self.write(0x14, 1, ACKNOWLEDGE | DRIVER)
        self.accept(VERSION_1 | features | RING_EVENT_IDX * event_idx)
        self.write(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        assert self.status & FEATURES_OK
        if vectors:
            self.enable_msix()
        self.rings = []
        for index in range(self.read(0x12, 2)):
            self.write(0x16, 2, index)
            ring = Ring(self.memory, 0x1000 + 0x4000 * index, size)
            self.memory.ram[ring.descriptors : ring.descriptors + 0x4000] = bytes(0x4000)
            self.write(0x18, 2, size)
            for offset, gpa in ((0x20, ring.descriptors), (0x28, ring.available), (0x30, ring.used)):
                self.write(offset, 4, gpa)
                self.write(offset + 4, 4, 0)
            if vectors:
                self.write(0x1A, 2, index + 1)
            self.write(0x1C, 2, 1)
            self.rings.append(ring)
        self.write(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def enable_msix(self) -> None:
        """Vector n sends datum 0x40 + n; vector 0 is for configuration changes."""
        machine = self.machine
        table = machine.config(cs.BAR0 + 4, 4) & ~0xF
        count = (machine.config(self.msix_offset + 2, 2) & 0x7FF) + 1
        for vector in range(count):
            entry = table + 16 * vector
            machine.mmio.write(entry, 4, MSI_ADDRESS)
            machine.mmio.write(entry + 4, 4, 0)
            machine.mmio.write(entry + 8, 4, 0x40 + vector)
            machine.mmio.write(entry + 12, 4, 0)
        machine.set_config(self.msix_offset + 2, 2, 0x8000)
        self.write(0x10, 2, 0)

    def notify(self, index: int = 0) -> None:
        self.write_notify(index)
        while self.machine.posted:
            self.machine.run_posted()

    def write_notify(self, index: int) -> None:
        self.write(0x16, 2, index)
        offset = self.read(0x1E, 2) * self.notify_multiplier
        self.machine.mmio.write(self.places[2] + offset, 2, index)

    def request(self, buffers: list[tuple[int, int, bool]], queue: int = 0) -> int | None:
        """One chain in descriptors 0, 1, …; returns the used length, None when it is not returned."""
        ring = self.rings[queue]
        ring.offer(ring.chain(buffers))
        self.notify(queue)
        done = ring.take()
        return done[0][1] if done else None
