"""What a virtual machine is made of: the one description that every front end hands to a VMM.

Plain data: it is checked here as far as that goes without opening a file, and can be written down and
read again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ringfence.api.network import NetConfig, parse_network
from ringfence.api.shares import ShareConfig, parse_share
from ringfence.errors import UserError
from ringfence.units import GIB, MIB, PAGE_BYTES, parse_bytes

ENGINES = ("translate", "interpret")
MEMORY_MIN_BYTES = 2 * MIB
#: 39 bits of guest-physical addresses, less what lies above RAM.
MEMORY_MAX_BYTES = 256 * GIB
#: The command line's default guest must fit.
DEFAULT_MEMORY = "512M"

AnyPath = str | PathLike[str]


@dataclass(frozen=True)
class DiskConfig:
    """A raw disk image."""

    path: Path
    is_read_only: bool = False


@dataclass(frozen=True)
class MachineConfig:
    """One machine, as its user writes it; the properties are what the board reads.

    Attributes:
        kernel: a Linux bzImage, a PVH or multiboot ELF; or raw code when ``raw_at`` says where.
        disks: each a path, with ``,ro`` at the end for read only.
        memory: guest RAM: ``"512M"``, or a number of bytes.
        patch: translate sensitive instructions as call-outs, and patch those that turn hot.
        firmware: a ROM started at the reset vector instead of a kernel.
        shares: each a directory of the host and where the guest mounts it, ``HOST:GUEST``, with ``:ro`` at
            the end for read only, ``:9p`` for 9p, ``:ro,9p`` for both.
        name: what the machine is called, on its network too.
        network: what its NIC is plugged into: ``none``, ``user``, ``loopback``, a switch's name, or the
            path of a socket where QEMU's stream framing is spoken.
        publish: ports of the host that lead to the guest: ``[[HOSTIP:]HOSTPORT:]GUESTPORT[/udp]``.
        allow: what the guest may reach: names, ``*.NAME``, addresses and networks; nothing given: all but
            the host itself.
        dns: name servers that are asked for the guest, ``ADDRESS[:PORT]``; nothing given: the host's.
        capture: a pcap file for all that passes the NIC.
        debug_exit: the port of an isa-debug-exit device; None for none.
        test_device: plug in the device that kvm-unit-tests wants.
        virtio_console: plug in a virtio console, the guest's hvc0, beside the serial port.
        agent: plug in the port that ringfence-agent in the guest looks for.
        raw_at: start ``kernel`` as real-mode code at this address, below 1 MiB.

    Raises:
        UserError: the values don't make a machine.
    """

    kernel: AnyPath | None = None
    initrd: AnyPath | None = None
    append: str = ""
    disks: Sequence[AnyPath] = ()
    memory: str | int = DEFAULT_MEMORY
    cpu: str = "x86-64-v2"
    engine: str = "translate"
    patch: bool = False
    firmware: AnyPath | None = None
    shares: Sequence[str] = ()
    name: str = ""
    network: str = "none"
    publish: Sequence[str] = ()
    allow: Sequence[str] = ()
    dns: Sequence[str] = ()
    capture: AnyPath | None = None
    debug_exit: int | None = None
    test_device: bool = False
    virtio_console: bool = False
    agent: bool = False
    raw_at: int | None = None

    def __post_init__(self) -> None:
        if (self.kernel is None) == (self.firmware is None):
            raise UserError("a machine starts from a kernel or from a firmware: give one of them")
        if self.firmware is not None and (self.initrd is not None or self.append):
            raise UserError("a firmware takes no initrd and no command line")
        if self.engine not in ENGINES:
            raise UserError(f"no engine {self.engine!r}: choose {', '.join(ENGINES)}")
        if self.patch and self.engine != "translate":
            raise UserError("only translated code is patched: it takes the engine translate")
        if self.debug_exit is not None and not 0 <= self.debug_exit <= 0xFFFF:
            raise UserError(f"not a port: {self.debug_exit:#x}")
        if self.raw_at is not None and not 0 <= self.raw_at < MIB:
            raise UserError(f"real-mode code can't be at {self.raw_at:#x}: it must be below 1 MiB")
        if "\0" in self.append:
            raise UserError("a command line can't hold a NUL character")
        # Computing them checks them.
        _ = self.memory_bytes, self.disk_configs, self.net_config, self.share_configs

    @property
    def memory_bytes(self) -> int:
        size = self.memory if isinstance(self.memory, int) else parse_bytes(self.memory)
        if size % PAGE_BYTES:
            raise UserError(f"memory of {size} bytes is not whole pages of {PAGE_BYTES} bytes")
        if size < MEMORY_MIN_BYTES:
            raise UserError(f"too little memory: {size >> 10} KiB; a machine needs at least 2 MiB")
        if size > MEMORY_MAX_BYTES:
            raise UserError(f"too much memory: {size >> 30} GiB; a machine has at most 256 GiB")
        return size

    @property
    def disk_configs(self) -> tuple[DiskConfig, ...]:
        return tuple(_parse_disk(os.fspath(disk)) for disk in self.disks)

    @property
    def share_configs(self) -> tuple[ShareConfig, ...]:
        return tuple(parse_share(share) for share in self.shares)

    @property
    def net_config(self) -> NetConfig | None:
        capture = None if self.capture is None else os.fspath(self.capture)
        return parse_network(self.network, self.publish, self.allow, capture, self.name, self.dns)


def _parse_disk(text: str) -> DiskConfig:
    """``FILE`` or ``FILE,ro``. Another comma belongs to the file's name."""
    is_read_only = text.endswith(",ro")
    path = text.removesuffix(",ro")
    if not path:
        raise UserError("a disk without a file: write FILE or FILE,ro")
    return DiskConfig(Path(path), is_read_only)
