"""The split queue: every shape of chain that is allowed, and every one that breaks it."""

from __future__ import annotations

import struct

import pytest
from fake_guest import BUFFERS_BASE, DESC_INDIRECT, DESC_NEXT, DESC_WRITE, RAM_BYTES, Driver, Machine, Ring

from ringfence.core.dma.virtqueue import RING_INDIRECT_DESC
from ringfence.devices.virtio.common_config import NEEDS_RESET
from ringfence.devices.virtio.rng import VirtioRng

TABLE = 0x3_0000
#: IOV_MAX
SEGMENTS_MAX = 1024


@pytest.fixture
def driver() -> Driver:
    driver = Driver(Machine(VirtioRng("rng", source=lambda n: b"\x5a" * n)))
    driver.start(RING_INDIRECT_DESC)
    return driver


@pytest.fixture
def ring(driver: Driver) -> Ring:
    return driver.rings[0]


def _broken(driver: Driver) -> str:
    """Notify the queue and say why it broke."""
    driver.notify()
    assert driver.status & NEEDS_RESET
    assert driver.rings[0].take() == []
    (reason,) = (name for name in driver.machine.function.metrics() if name.startswith("queue_broken"))
    return reason.removeprefix("queue_broken: ")


def test_buffers_are_filled_in_order(driver: Driver, ring: Ring) -> None:
    buffers = [(BUFFERS_BASE, 3, True), (BUFFERS_BASE + 16, 5, True), (BUFFERS_BASE + 8, 1, True)]
    assert driver.request(buffers) == 9
    want = b"\x5a" * 3 + bytes(5) + b"\x5a" + bytes(7) + b"\x5a" * 5 + b"\0"
    assert driver.memory.read(BUFFERS_BASE, 22) == want
    for gpa, length, _ in buffers:
        assert driver.memory.is_dirty(gpa, length)
    assert driver.memory.is_dirty(ring.used, 12)


def test_an_indirect_table_is_followed(driver: Driver, ring: Ring) -> None:
    buffers = [(BUFFERS_BASE + 32 * n, 4, True) for n in range(40)]
    ring.offer(ring.indirect(TABLE, buffers, slot=3))
    driver.notify()
    assert ring.take() == [(3, 160)]


def test_an_indirect_table_may_end_a_chain(driver: Driver, ring: Ring) -> None:
    ring.indirect(TABLE, [(BUFFERS_BASE, 4, True), (BUFFERS_BASE + 4, 4, True)], slot=1)
    ring.describe(0, BUFFERS_BASE + 64, 2, DESC_WRITE | DESC_NEXT, 1)
    ring.offer(0)
    driver.notify()
    assert ring.take() == [(0, 10)]


def test_the_indices_wrap(driver: Driver, ring: Ring) -> None:
    for n in range(0x1_0000 // 16 + 2):
        heads = [ring.chain([(BUFFERS_BASE + 8 * k, 8, True)], first=k) for k in range(16)]
        ring.offer(*heads)
        driver.notify()
        assert len(ring.take()) == 16, n
    assert not driver.status & NEEDS_RESET


def test_one_notification_serves_one_ring_and_posts_the_rest(driver: Driver, ring: Ring) -> None:
    """The first request's data lands on the available ring and makes up more requests."""
    queue = driver.machine.function.common.queues[0]
    served = 0

    def source(n: int) -> bytes:
        """Flags, and an available index that is always one ring ahead."""
        nonlocal served
        served += 1
        return struct.pack("<HH", 0, served + ring.size)

    driver.machine.function.device._source = source  # type: ignore[attr-defined]
    ring.offer(ring.chain([(ring.available, 4, True)]))
    driver.write_notify(0)
    assert served == ring.size
    assert len(driver.machine.posted) == 1
    driver.write_notify(0)
    assert served == 2 * ring.size
    assert len(driver.machine.posted) == 1
    driver.machine.run_posted()
    assert served == 3 * ring.size
    assert queue.is_running


def test_a_loop_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.describe(0, BUFFERS_BASE, 4, DESC_WRITE | DESC_NEXT, 1)
    ring.describe(1, BUFFERS_BASE, 4, DESC_WRITE | DESC_NEXT, 0)
    ring.offer(0)
    assert _broken(driver) == "chain too long"


def test_a_loop_in_an_indirect_table_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.indirect(TABLE, [(BUFFERS_BASE, 4, True)] * 3)
    ring.put(TABLE + 32, "<QIHH", BUFFERS_BASE, 4, DESC_WRITE | DESC_NEXT, 0)
    ring.offer(0)
    assert _broken(driver) == "chain too long"


@pytest.mark.parametrize("head", [16, 0xFFFF])
def test_a_head_out_of_bounds_breaks_it(driver: Driver, ring: Ring, head: int) -> None:
    ring.offer(head)
    assert _broken(driver) == "descriptor index out of bounds"


def test_a_link_out_of_bounds_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.describe(0, BUFFERS_BASE, 4, DESC_WRITE | DESC_NEXT, 16)
    ring.offer(0)
    assert _broken(driver) == "descriptor index out of bounds"


@pytest.mark.parametrize(
    ("gpa", "length"),
    [(RAM_BYTES, 1), (RAM_BYTES - 4, 5), (0, RAM_BYTES + 1), (2**64 - 1, 2), (2**64 - 1, 0xFFFF_FFFF)],
)
def test_a_buffer_outside_ram_breaks_it(driver: Driver, ring: Ring, gpa: int, length: int) -> None:
    ring.describe(0, gpa, length, DESC_WRITE)
    ring.offer(0)
    assert _broken(driver) == "buffer outside RAM"


def test_an_empty_buffer_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.describe(0, BUFFERS_BASE, 0, DESC_WRITE)
    ring.offer(0)
    assert _broken(driver) == "bad buffer length"


def test_a_readable_buffer_after_a_writable_one_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.offer(ring.chain([(BUFFERS_BASE, 4, True), (BUFFERS_BASE, 4, False)]))
    assert _broken(driver) == "readable buffer after a writable one"


def test_an_available_index_that_jumps_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.put(ring.available + 2, "<H", 17)
    assert _broken(driver) == "available index jumped"


@pytest.mark.parametrize("length", [0, 15, 24, 16 * (SEGMENTS_MAX + 1)])
def test_a_bad_indirect_length_breaks_it(driver: Driver, ring: Ring, length: int) -> None:
    ring.describe(0, TABLE, length, DESC_INDIRECT)
    ring.offer(0)
    assert _broken(driver) == "bad indirect table size"


def test_an_indirect_table_outside_ram_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.describe(0, RAM_BYTES, 16, DESC_INDIRECT)
    ring.offer(0)
    assert _broken(driver) == "indirect table outside RAM"


def test_an_indirect_table_in_an_indirect_table_breaks_it(driver: Driver, ring: Ring) -> None:
    ring.put(TABLE, "<QIHH", TABLE, 16, DESC_INDIRECT, 0)
    ring.describe(0, TABLE, 16, DESC_INDIRECT)
    ring.offer(0)
    assert _broken(driver) == "indirect descriptor not allowed"


def test_an_indirect_table_that_was_not_negotiated_breaks_it(driver: Driver) -> None:
    driver.start()
    ring = driver.rings[0]
    ring.offer(ring.indirect(TABLE, [(BUFFERS_BASE, 4, True)]))
    assert _broken(driver) == "indirect descriptor not allowed"


@pytest.mark.parametrize(
    ("offset", "gpa", "reason"),
    [
        (0x20, RAM_BYTES, "ring outside RAM"),
        (0x28, RAM_BYTES - 8, "ring outside RAM"),
        (0x30, 2**64 - 4, "ring outside RAM"),
        (0x20, 0x1008, "ring not aligned"),
        (0x28, 0x1001, "ring not aligned"),
        (0x30, 0x1002, "ring not aligned"),
    ],
)
def test_rings_in_impossible_places_break_it(driver: Driver, offset: int, gpa: int, reason: str) -> None:
    driver.write(0x14, 1, 0)
    driver.write(0x14, 1, 3)
    driver.accept(1 << 32)
    driver.write(0x14, 1, 11)
    for at in (0x20, 0x28, 0x30):
        driver.write(at, 8, gpa if at == offset else 0x1000)
    driver.write(0x1C, 2, 1)
    driver.write(0x14, 1, 15)
    assert _broken(driver) == reason


def test_a_saved_ring_of_no_size_breaks_it(driver: Driver, ring: Ring) -> None:
    queue = driver.machine.function.common.queues[0]
    queue.restore(queue.save() | {"size": 0})
    assert not queue.is_running
    assert queue.pop() is None
