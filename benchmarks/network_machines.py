"""Linux guests with iperf3 and a network, under Ringfence and QEMU's TCG, each by its own NAT and by passt.

A guest reaches its host's loopback at its gateway, and two ports of the host lead to its own. Ringfence and
QEMU get the same files and, but for where it is plugged in, the same NIC.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import machines
from benchmarks.guest_console import HAS_ADDRESS, GuestConsole, spawn
from benchmarks.machines import Guest
from benchmarks.passt import started_passt
from benchmarks.programs import compile_connections
from benchmarks.userland import add_tree, unpack_packages
from ringfence.image.cpio import CpioWriter

PACKAGES = ("iperf3", "libiperf0", "libsctp1", "libssl3", "libc6", "libgcc-s1")
APPEND = "console=ttyS0 quiet"
IPERF_PORT, CONNECTIONS_PORT = 5201, 5301
SERVE = f"iperf3 -s -D; connections serve {CONNECTIONS_PORT} & true"


class Net(NamedTuple):
    """A guest, and how it is reached."""

    console: GuestConsole
    #: The host's loopback, as the guest sees it.
    gateway: str
    #: Ports of the host that lead to those of the guest.
    iperf_port: int
    connections_port: int


class Link(NamedTuple):
    """A guest, and the address of another that serves."""

    console: GuestConsole
    address: str


def prepare(kernel: Path, initrd: Path, folder: Path) -> tuple[Guest, Path]:
    """The guest, and the program `connections`, which runs on the host as well."""
    root = folder / "network-root"
    unpack_packages(PACKAGES, root)
    binary = compile_connections(folder)
    archive = CpioWriter()
    add_tree(archive, root)
    archive.symlink("bin/iperf3", "/usr/bin/iperf3")
    archive.file("bin/connections", binary.read_bytes(), 0o755)
    both = folder / "network-initrd"
    both.write_bytes(initrd.read_bytes() + archive.finish())
    return Guest(kernel, both, APPEND), binary


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def ringfence_nat(guest: Guest) -> Iterator[Net]:
    ports = free_port(), free_port()
    publish = [word for option in _pairs(ports) for word in ("-p", option)]
    command = machines.ringfence(guest, "--network", "user", "--allow", "127.0.0.1", *publish)
    with _booted(command) as console:
        yield _net(console, ports)


@contextmanager
def ringfence_passt(guest: Guest) -> Iterator[Net]:
    ports = free_port(), free_port()
    pairs = _pairs(ports)
    with started_passt(pairs) as path, _booted(machines.ringfence(guest, "--network", str(path))) as console:
        yield _net(console, ports)


@contextmanager
def qemu_slirp(guest: Guest) -> Iterator[Net]:
    ports = free_port(), free_port()
    forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{pair.replace(':', '-:')}" for pair in _pairs(ports))
    with _booted([*machines.qemu(guest), *_nic(f"user,{forwards}")]) as console:
        yield _net(console, ports)


@contextmanager
def qemu_passt(guest: Guest) -> Iterator[Net]:
    ports = free_port(), free_port()
    with started_passt(_pairs(ports)) as path:
        nic = _nic(f"stream,server=off,addr.type=unix,addr.path={path}")
        with _booted([*machines.qemu(guest), *nic]) as console:
            yield _net(console, ports)


@contextmanager
def ringfence_link(guest: Guest) -> Iterator[Link]:
    """Two machines on a switch, which gives them their addresses."""
    with tempfile.TemporaryDirectory() as run, ExitStack() as stack:
        command = machines.ringfence(guest, "--network", "link")
        one, other = (stack.enter_context(_booted(command, {"XDG_RUNTIME_DIR": run})) for _ in range(2))
        for console in (one, other):
            console.run(HAS_ADDRESS)
        address = other.run("ip -4 addr show eth0 | sed -n 's/.*inet \\([^/]*\\).*/\\1/p'")
        yield _linked(one, other, address)


@contextmanager
def qemu_link(guest: Guest) -> Iterator[Link]:
    """Two machines whose NICs are the ends of a socket."""
    with tempfile.TemporaryDirectory() as run, ExitStack() as stack:
        pair = []
        for end, number in (("on", 1), ("off", 2)):
            nic = _nic(f"stream,server={end},addr.type=unix,addr.path={run}/link", number)
            console = stack.enter_context(_booted([*machines.qemu(guest), *nic]))
            console.run(f"killall udhcpc; ip addr add 10.9.8.{number}/24 dev eth0")
            pair.append(console)
        yield _linked(pair[0], pair[1], "10.9.8.2")


def _pairs(ports: tuple[int, int]) -> list[str]:
    """HOST:GUEST"""
    return [f"{ports[0]}:{IPERF_PORT}", f"{ports[1]}:{CONNECTIONS_PORT}"]


def _nic(where: str, number: int = 1) -> list[str]:
    kind, _, options = where.partition(",")
    device = f"virtio-net-pci,netdev=n,mac=52:54:00:00:00:{number:02x},romfile="
    return ["-netdev", f"{kind},id=n,{options}", "-device", device]


@contextmanager
def _booted(command: list[str], environment: dict[str, str] | None = None) -> Iterator[GuestConsole]:
    console = GuestConsole(spawn(command, environment))
    try:
        console.boot()
        yield console
    finally:
        console.kill()


def _net(console: GuestConsole, ports: tuple[int, int]) -> Net:
    console.run(HAS_ADDRESS)
    console.run(SERVE)
    gateway = console.run("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'")
    return Net(console, gateway, *ports)


def _linked(one: GuestConsole, other: GuestConsole, address: str) -> Link:
    other.run(SERVE)
    one.run(f"until ping -c 1 -W 1 {address} > /dev/null; do true; done")
    return Link(one, address)
