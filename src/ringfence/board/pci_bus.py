"""The PCI bus of a board: host bridge, and virtio devices as the configuration says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ringfence.agent import PORT_NAME
from ringfence.api.config import DiskConfig, MachineConfig
from ringfence.api.shares import ShareConfig
from ringfence.board import memory_map as mm
from ringfence.board import ports
from ringfence.board.interrupts import Interrupts
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.devices.bus import Bus
from ringfence.devices.device import Device
from ringfence.devices.pci.assign import Window, assign
from ringfence.devices.pci.host_bridge import ConfigPorts, EcamWindow, host_bridge
from ringfence.devices.pci.root import PciRoot
from ringfence.devices.virtio.blk import VirtioBlk
from ringfence.devices.virtio.console import VirtioConsole
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.devices.virtio.fs import VirtioFs
from ringfence.devices.virtio.net import VirtioNet
from ringfence.devices.virtio.ninep import VirtioNineP
from ringfence.devices.virtio.port import Port
from ringfence.devices.virtio.rng import VirtioRng
from ringfence.devices.virtio.transport import VirtioPci
from ringfence.disk.backend import DiskBackend
from ringfence.disk.raw import RawDisk
from ringfence.network.plug import Plug
from ringfence.shares.directory import Directory
from ringfence.shares.fuse.server import FuseServer
from ringfence.shares.ninep.server import NinePServer

Post = Callable[[Callable[[], None]], None]


class PciBus:
    """The root bus with all that is plugged in.

    Raises:
        UserError: a disk, a share or a capture file can't be used.
    """

    def __init__(
        self,
        config: MachineConfig,
        memory: GuestMemory,
        mmio: Bus,
        pio: Bus,
        interrupts: Interrupts,
        post: Post,
        network: Plug | None = None,
    ) -> None:
        self._memory = memory
        self._interrupts = interrupts
        self._post = post
        self._backends: list[DiskBackend | FuseServer | NinePServer] = []
        #: the guest's hvc0, where it has one
        self.console: VirtioConsole | None = None
        #: the guest agent's port, where it has one
        self.agent_port: Port | None = None
        #: takes what the guest writes on hvc0
        self.console_output: Callable[[bytes], object] = _discard
        self.root = PciRoot(mmio, pio, interrupts.intx)
        self.ecam = EcamWindow(self.root)
        self.root.add(host_bridge())
        try:
            self._add(VirtioRng("rng"))
            for number, disk in enumerate(config.disk_configs):
                self._add_disk(number, disk)
            if network is not None:
                self._add(VirtioNet("net0", *network))
            for number, share in enumerate(config.share_configs):
                self._add_share(share_tag(number), share)
            if config.virtio_console or config.agent:
                self._add_console(config)
        except BaseException:
            self.close()
            raise

    def config_ports(self, reset_control: Device) -> ConfigPorts:
        return ConfigPorts(self.root, reset_control)

    def assign(self) -> None:
        """Give every function its addresses, as firmware does.

        Raises:
            UserError: more devices than the windows hold.
        """
        assign(
            self.root,
            Window(mm.PCI_MEMORY_BASE, mm.PCI_MEMORY_BYTES),
            Window(ports.PCI_IO.base, ports.PCI_IO.size),
            ports.IRQ_INTX,
        )

    def metrics(self) -> dict[str, dict[str, int]]:
        """What each device counts, by its name. Any thread."""
        return {function.name: function.metrics() for function in self.root.functions.values()}

    def close(self) -> None:
        """Close all backends."""
        while self._backends:
            self._backends.pop().close()

    def _add_console(self, config: MachineConfig) -> None:
        ports = []
        if config.agent:
            self.agent_port = Port(PORT_NAME, _discard)
            ports.append(self.agent_port)
        sink = self._take_console_output if config.virtio_console else None
        device = VirtioConsole("console0", sink, ports=ports)
        self._add(device)
        if config.virtio_console:
            self.console = device

    def _take_console_output(self, data: bytes) -> None:
        self.console_output(data)

    def _add(self, device: VirtioDevice) -> None:
        self.root.add(VirtioPci(device, self._memory, self._interrupts.send_msi, self._post))

    def _add_disk(self, number: int, disk: DiskConfig) -> None:
        backend = RawDisk(disk.path, disk.is_read_only)
        self._backends.append(backend)
        # The serial number stays with the image, whatever order the disks are given in.
        serial = hashlib.sha256(str(disk.path.resolve()).encode()).hexdigest()[:20]
        self._add(VirtioBlk(f"disk{number}", backend, serial))

    def _add_share(self, tag: str, share: ShareConfig) -> None:
        directory = Directory(share.path, share.is_read_only)
        server = NinePServer(directory) if share.is_9p else FuseServer(directory)
        self._backends.append(server)
        if isinstance(server, NinePServer):
            self._add(VirtioNineP(tag, server, tag))
        else:
            self._add(VirtioFs(tag, server, tag))


def share_tag(number: int) -> str:
    """By which a guest mounts it."""
    return f"share{number}"


def _discard(data: bytes) -> None:
    """Nobody listens."""
