"""Hostile drivers against every virtio device: nothing is raised, nothing hangs, reset always helps.

The guest owns its RAM and every register, so the fuzzer does too: descriptors and rings that
make little sense, and accesses of any size, anywhere in the BARs and the configuration space.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "devices" / "virtio"))

from fake_guest import BARS_BASE, BUFFERS_BASE, RAM_BYTES, Driver, FakeMemory, Machine, Ring

from ringfence.core.dma.virtqueue import RING_EVENT_IDX
from ringfence.devices.virtio.blk import VirtioBlk
from ringfence.devices.virtio.common_config import DRIVER_OK, NEEDS_RESET
from ringfence.devices.virtio.console import VirtioConsole
from ringfence.devices.virtio.device import VirtioDevice
from ringfence.devices.virtio.fs import VirtioFs
from ringfence.devices.virtio.net import VirtioNet
from ringfence.devices.virtio.ninep import VirtioNineP
from ringfence.devices.virtio.port import Port
from ringfence.devices.virtio.rng import VirtioRng
from ringfence.network.loopback import Loopback
from ringfence.network.offload import PLAIN
from ringfence.shares.directory import Directory
from ringfence.shares.fuse.server import FuseServer
from ringfence.shares.ninep.server import NinePServer

SIZE = 8
#: four requests' headers and indirect tables lie below
HEADERS_END = BUFFERS_BASE + 0x1000
#: Posted work is run this often; a device that posts itself for ever is still within its rights.
ROUNDS = 3


Buffers = list[tuple[int, int]]
Request = tuple[bytes, int, Buffers, Buffers, bool]


class Disk:
    """64 KiB of zeroes."""

    size_bytes = 1 << 16
    is_read_only = False

    def read(self, offset: int, buffers: Sequence[memoryview]) -> None:
        assert offset >= 0 and offset + sum(map(len, buffers)) <= self.size_bytes
        for buffer in buffers:
            buffer[:] = bytes(len(buffer))

    def write(self, offset: int, buffers: Sequence[memoryview]) -> None:
        assert offset >= 0 and offset + sum(map(len, buffers)) <= self.size_bytes

    def flush(self) -> None: ...

    def discard(self, offset: int, n: int) -> None:
        assert offset >= 0 and offset + n <= self.size_bytes

    def write_zeroes(self, offset: int, n: int, may_unmap: bool) -> None:
        assert offset >= 0 and offset + n <= self.size_bytes

    def close(self) -> None: ...


#: what the file servers are confined to; one of each serves all examples, one after the other
SHARE = tempfile.TemporaryDirectory(prefix="ringfence-share-")
FUSE, NINEP = FuseServer(Directory(SHARE.name)), NinePServer(Directory(SHARE.name))

KINDS: dict[str, Callable[[], VirtioDevice]] = {
    "blk": lambda: VirtioBlk("blk", Disk()),
    "console": lambda: VirtioConsole("console", lambda data: None),
    "ports": lambda: VirtioConsole("console", lambda data: None, ports=[Port("port", lambda data: None)]),
    "net": lambda: VirtioNet("net", Loopback(), b"\x52" + bytes(5)),
    "rng": lambda: VirtioRng("rng", bytes),
    "fs": lambda: VirtioFs("fs", FUSE, "tag"),
    "9p": lambda: VirtioNineP("9p", NINEP, "tag"),
}

fuzz = settings(max_examples=250, derandomize=True, suppress_health_check=list(HealthCheck))

edges = st.sampled_from([0, 1, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, RAM_BYTES, RAM_BYTES - 1])
#: the rings themselves are the most interesting place for a device to write to
ring_gpas = st.integers(0x1000, 0x1400)
buffer_gpas = st.integers(HEADERS_END, RAM_BYTES - 0x1_0000)
lengths = st.one_of(st.integers(1, 80), st.sampled_from([511, 512, 512, 512, 1024, 4096, 0x1_0000]))
buffers = st.lists(st.tuples(st.one_of(buffer_gpas, buffer_gpas, ring_gpas), lengths), max_size=3)
headers = st.builds(
    struct.Struct("<IIQIII").pack,
    *(
        st.sampled_from([0, 0, 0, 1, 1, 1, 4, 8, 11, 13, 2]),
        st.just(0),
        st.one_of(st.integers(0, 130), edges),
    ),
    *(st.integers(0, 130), st.integers(0, 2), st.just(0)),
)
#: (header, its length in the chain, readable buffers, writable buffers, in a table of its own?)
requests = st.tuples(headers, st.sampled_from([16, 16, 32, 28, 5]), buffers, buffers, st.booleans())
#: afterwards one field of some descriptor changes: (slot, field, value)
damage = st.tuples(
    st.integers(0, SIZE - 1), st.integers(0, 3), st.one_of(st.integers(0, 40), edges, ring_gpas)
)
_FIELDS = ((0, "<Q"), (8, "<I"), (12, "<H"), (14, "<H"))


def _run(machine: Machine) -> None:
    for _ in range(ROUNDS):
        machine.run_posted()


def _check_works_after_reset(machine: Machine) -> None:
    """The driver starts over on cleared rings, and every queue runs."""
    machine.posted.clear()
    machine.root.reset()
    machine.assign()
    driver = Driver(machine)
    driver.start(size=SIZE)
    assert driver.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK
    assert all(queue.is_running for queue in machine.function.common.queues)


@pytest.mark.parametrize("kind", KINDS)
@given(
    script=st.lists(requests, min_size=1, max_size=4),
    damages=st.lists(damage, max_size=2),
    jump=st.sampled_from([0] * 8 + [1, SIZE, 0x8000]),
    event_idx=st.booleans(),
    typed=st.lists(st.binary(max_size=80), max_size=3),
)
@fuzz
def test_any_rings(
    kind: str,
    script: list[Request],
    damages: list[tuple[int, int, int]],
    jump: int,
    event_idx: bool,
    typed: list[bytes],
) -> None:
    machine = Machine(KINDS[kind]())
    driver = Driver(machine)
    driver.start(driver.offered() & ~RING_EVENT_IDX, size=SIZE, event_idx=event_idx)
    for ring in driver.rings:
        _lay_out(ring, script)
        for slot, field, value in damages:
            offset, layout = _FIELDS[field]
            ring.put(
                ring.descriptors + 16 * slot + offset, layout, value % (1 << 8 * struct.calcsize(layout))
            )
        ring.put(ring.available + 2, "<H", (ring.index + jump) & 0xFFFF)
    device = machine.function.device
    for data in [b"", *typed]:
        for index in range(len(driver.rings)):
            driver.write_notify(index)
            _run(machine)
        if isinstance(device, VirtioConsole):
            device.feed(data)
        if isinstance(device, VirtioNet):
            device.receive([data, PLAIN + data])
    _check_works_after_reset(machine)


def _lay_out(ring: Ring, script: list[Request]) -> None:
    """Offer the requests, each in a table of its own or in the ring's as long as that has room."""
    slot = 0
    for n, (header, header_length, readable, writable, is_indirect) in enumerate(script):
        place = BUFFERS_BASE + 0x400 * n
        ring.memory.write(place, header)
        pieces = [(place, header_length, False), *((gpa, length, False) for gpa, length in readable)]
        pieces += [*((gpa, length, True) for gpa, length in writable), (place + 0x80, 1, True)]
        if is_indirect or slot + len(pieces) > SIZE:
            ring.offer(ring.indirect(place + 0x100, pieces, slot % SIZE))
            slot += 1
        else:
            ring.offer(ring.chain(pieces, first=slot))
            slot += len(pieces)


#: Where BAR registers are dense, and anywhere at all.
bar_offsets = st.one_of(
    st.integers(0, 0x3F), st.integers(0x1000, 0x1004), st.integers(0x2000, 0x2040),
    st.integers(0x3000, 0x3010), st.integers(0x4000, 0x4060), st.integers(0x4800, 0x4810),
    st.integers(0, 0x4FF8),
)  # fmt: skip
sizes = st.sampled_from([1, 2, 4, 8])
values = st.one_of(st.integers(0, 16), st.integers(0, 2**64 - 1), edges, ring_gpas)
accesses = st.tuples(
    st.sampled_from(["bar", "bar", "config"]),
    bar_offsets,
    st.integers(0, 0x108),
    sizes,
    st.booleans(),
    values,
)


@pytest.mark.parametrize("kind", KINDS)
@given(is_started=st.booleans(), script=st.lists(accesses, max_size=60))
@fuzz
def test_any_register_accesses(
    kind: str, is_started: bool, script: list[tuple[str, int, int, int, bool, int]]
) -> None:
    machine = Machine(KINDS[kind](), FakeMemory())
    driver = Driver(machine)
    if is_started:
        driver.start(size=SIZE, vectors=True)
    for where, bar_offset, config_offset, size_bytes, is_write, value in script:
        value &= (1 << 8 * size_bytes) - 1
        if where == "config":
            if is_write:
                machine.set_config(config_offset, size_bytes, value)
            else:
                assert 0 <= machine.config(config_offset, size_bytes) < 1 << 8 * size_bytes
        elif is_write:
            machine.mmio.write(BARS_BASE + bar_offset, size_bytes, value)
        else:
            assert 0 <= machine.mmio.read(BARS_BASE + bar_offset, size_bytes) < 1 << 8 * size_bytes
        machine.run_posted()
    twin = Machine(KINDS[kind](), machine.memory)
    twin.root.restore(machine.root.save())
    assert twin.root.save() == machine.root.save()
    _check_works_after_reset(machine)
