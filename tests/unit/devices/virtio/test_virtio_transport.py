"""Modern virtio over PCI, as its driver sees it: identity, negotiation, interrupts, reset, state."""

from __future__ import annotations

import pytest
from fake_guest import AVAIL_NO_INTERRUPT, BUFFERS_BASE, MSI_ADDRESS, Driver, Machine

from ringfence.core.dma.virtqueue import RING_EVENT_IDX, RING_INDIRECT_DESC
from ringfence.devices.pci import config_space as cs
from ringfence.devices.virtio.common_config import (
    ACKNOWLEDGE,
    DRIVER,
    DRIVER_OK,
    FEATURES_OK,
    NEEDS_RESET,
    NO_VECTOR,
    VERSION_1,
)
from ringfence.devices.virtio.console import F_SIZE, VirtioConsole
from ringfence.devices.virtio.rng import VirtioRng


def _rng() -> VirtioRng:
    return VirtioRng("rng", source=lambda n: b"\x5a" * n)


@pytest.fixture
def machine() -> Machine:
    return Machine(_rng())


@pytest.fixture
def driver(machine: Machine) -> Driver:
    return Driver(machine)


def test_identity_is_modern(machine: Machine) -> None:
    assert machine.config(0, 4) == 0x1044_1AF4
    assert machine.config(8, 4) == 0x00FF00_01
    assert machine.config(0x2C, 4) == 0x0044_1AF4
    assert machine.config(cs.INTERRUPT_PIN, 1) == 1
    assert machine.config(cs.INTERRUPT_LINE, 1) == 17


def test_all_structures_are_found(driver: Driver) -> None:
    assert set(driver.places) == {1, 2, 3, 4}
    assert driver.notify_multiplier == 4
    assert driver.window_offset and driver.msix_offset


def test_offers_the_ring_features(driver: Driver) -> None:
    assert driver.offered() == VERSION_1 | RING_EVENT_IDX | RING_INDIRECT_DESC
    driver.write(0, 4, 2)
    assert driver.read(4, 4) == 0


@pytest.mark.parametrize("features", [0, RING_EVENT_IDX, VERSION_1 | 1, VERSION_1 | 1 << 33])
def test_refuses_a_legacy_or_greedy_driver(driver: Driver, features: int) -> None:
    driver.write(0x14, 1, ACKNOWLEDGE | DRIVER)
    driver.accept(features)
    driver.write(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK)
    assert driver.status == ACKNOWLEDGE | DRIVER
    driver.write(0x14, 1, ACKNOWLEDGE | DRIVER | DRIVER_OK)
    assert driver.status == ACKNOWLEDGE | DRIVER


def test_features_are_fixed_once_accepted(driver: Driver) -> None:
    driver.start()
    driver.write(8, 4, 0)
    driver.write(12, 4, RING_EVENT_IDX)
    assert driver.read(12, 4) == 0
    assert driver.machine.function.metrics()["register_write_ignored"] == 1


def test_status_bits_go_away_by_reset_only(driver: Driver) -> None:
    driver.start()
    driver.write(0x14, 1, ACKNOWLEDGE)
    assert driver.status & DRIVER_OK
    driver.write(0x14, 1, NEEDS_RESET)
    assert not driver.status & NEEDS_RESET
    driver.write(0x14, 1, 0)
    assert driver.status == 0


def test_queue_registers(driver: Driver) -> None:
    assert driver.read(0x12, 2) == 1
    assert driver.read(0x18, 2) == 64
    driver.write(0x18, 2, 48)
    driver.write(0x18, 2, 128)
    driver.write(0x18, 2, 0)
    assert driver.read(0x18, 2) == 64
    driver.write(0x18, 2, 8)
    assert driver.read(0x18, 2) == 8
    driver.write(0x20, 4, 0x1234_5670)
    driver.write(0x24, 4, 0x9)
    assert driver.read(0x20, 8) == 0x9_1234_5670
    driver.write(0x28, 8, 0x11_2233_4456)
    assert driver.read(0x28, 4) == 0x2233_4456
    assert driver.read(0x2C, 4) == 0x11
    driver.write(0x1A, 2, 1)
    assert driver.read(0x1A, 2) == 1
    driver.write(0x1A, 2, 2)
    assert driver.read(0x1A, 2) == NO_VECTOR
    driver.write(0x1C, 2, 1)
    driver.write(0x18, 2, 4)
    driver.write(0x20, 4, 0)
    assert (driver.read(0x18, 2), driver.read(0x20, 4)) == (8, 0x1234_5670)


def test_a_queue_that_does_not_exist_has_size_zero(driver: Driver) -> None:
    driver.write(0x16, 2, 7)
    assert [driver.read(offset, 2) for offset in (0x18, 0x1C)] == [0, 0]
    driver.write(0x18, 2, 4)
    driver.write(0x1C, 2, 1)
    driver.write(0x16, 2, 0)
    assert (driver.read(0x18, 2), driver.read(0x1C, 2)) == (64, 0)


def test_serves_a_request_and_raises_intx(driver: Driver) -> None:
    driver.start()
    assert driver.request([(BUFFERS_BASE, 100, True)]) == 100
    assert driver.memory.read(BUFFERS_BASE, 101) == b"\x5a" * 100 + b"\0"
    assert driver.machine.wire.level
    assert driver.machine.config(cs.STATUS, 2) & cs.STATUS_INTERRUPT
    assert driver.isr() == 1
    assert not driver.machine.wire.level
    assert driver.isr() == 0
    assert not driver.machine.config(cs.STATUS, 2) & cs.STATUS_INTERRUPT


def test_intx_disable_masks_the_wire_only(driver: Driver) -> None:
    driver.start()
    command = driver.machine.config(cs.COMMAND, 2)
    driver.machine.set_config(cs.COMMAND, 2, command | cs.COMMAND_INTX_DISABLE)
    driver.request([(BUFFERS_BASE, 8, True)])
    assert not driver.machine.wire.level
    driver.machine.set_config(cs.COMMAND, 2, command)
    assert driver.machine.wire.level


def test_msix_sends_the_queue_its_vector(driver: Driver) -> None:
    driver.start(vectors=True)
    driver.request([(BUFFERS_BASE, 8, True)])
    assert driver.machine.messages == [(MSI_ADDRESS, 0x41)]
    assert not driver.machine.wire.level
    driver.write(0x1A, 2, NO_VECTOR)
    assert driver.request([(BUFFERS_BASE, 8, True)]) == 8
    assert len(driver.machine.messages) == 1


def test_no_notification_before_driver_ok(driver: Driver) -> None:
    driver.start()
    ring = driver.rings[0]
    driver.write(0x14, 1, 0)
    ring.offer(ring.chain([(BUFFERS_BASE, 8, True)]))
    driver.notify()
    assert ring.take() == []
    assert driver.memory.read(BUFFERS_BASE, 8) == bytes(8)


def test_a_queue_filled_before_driver_ok_is_served(driver: Driver) -> None:
    driver.start()
    ring = driver.rings[0]
    driver.write(0x14, 1, 0)
    for status in (1, 3):
        driver.write(0x14, 1, status)
    driver.accept(VERSION_1)
    driver.write(0x14, 1, 11)
    driver.write(0x18, 2, ring.size)
    for offset, gpa in ((0x20, ring.descriptors), (0x28, ring.available), (0x30, ring.used)):
        driver.write(offset, 8, gpa)
    driver.write(0x1C, 2, 1)
    ring.offer(ring.chain([(BUFFERS_BASE, 8, True)]))
    driver.write(0x14, 1, 15)
    assert ring.take() == [(0, 8)]


def test_driver_may_suppress_interrupts(driver: Driver) -> None:
    driver.start()
    driver.rings[0].put(driver.rings[0].available, "<H", AVAIL_NO_INTERRUPT)
    assert driver.request([(BUFFERS_BASE, 8, True)]) == 8
    assert not driver.machine.wire.level


def test_event_index_suppresses_until_it_is_passed(driver: Driver) -> None:
    driver.start(event_idx=True)
    ring = driver.rings[0]
    assert ring.avail_event == 0
    ring.put(ring.used_event, "<H", 1)
    driver.request([(BUFFERS_BASE, 8, True)])
    assert not driver.machine.wire.level
    assert ring.avail_event == 1
    driver.request([(BUFFERS_BASE, 8, True)])
    assert driver.machine.wire.level
    assert ring.avail_event == 2


def test_broken_queue_asks_for_a_reset(driver: Driver) -> None:
    driver.start(vectors=True)
    assert driver.request([(1 << 50, 8, True)]) is None
    assert driver.status & NEEDS_RESET
    assert driver.machine.messages == [(MSI_ADDRESS, 0x40)]
    assert driver.machine.function.metrics()["queue_broken: buffer outside RAM"] == 1
    assert driver.request([(BUFFERS_BASE, 8, True)]) is None
    driver.start()
    assert driver.request([(BUFFERS_BASE, 8, True)]) == 8


def test_device_reset_clears_everything(driver: Driver) -> None:
    driver.start()
    driver.request([(BUFFERS_BASE, 8, True)])
    driver.write(0x14, 1, 0)
    assert not driver.machine.wire.level
    assert (driver.read(0x1C, 2), driver.read(0x20, 8), driver.read(0x18, 2)) == (0, 0, 64)
    assert driver.isr() == 0


def test_machine_reset_unmaps_and_starts_over(driver: Driver) -> None:
    driver.start(vectors=True)
    machine = driver.machine
    machine.root.reset()
    assert machine.config(cs.BAR0, 4) == 0
    assert machine.mmio.find(driver.places[1], 4) is None
    machine.assign()
    assert driver.status == 0
    driver.start()
    assert driver.request([(BUFFERS_BASE, 8, True)]) == 8


def test_configuration_change_bumps_the_generation() -> None:
    console = VirtioConsole("console", sink=lambda data: None)
    driver = Driver(Machine(console))
    driver.start(F_SIZE)
    before = driver.read(0x15, 1)
    console.resize(132, 50)
    assert driver.read(0x15, 1) == (before + 1) & 0xFF
    assert (driver.device_config(0, 2), driver.device_config(2, 2)) == (132, 50)
    assert driver.isr() == 2


def test_bar_window_reaches_the_registers(driver: Driver) -> None:
    machine, at = driver.machine, driver.window_offset
    machine.set_config(at + 4, 1, 0)
    machine.set_config(at + 8, 4, 0x14)
    machine.set_config(at + 12, 4, 1)
    machine.set_config(at + 16, 1, ACKNOWLEDGE)
    assert driver.status == ACKNOWLEDGE
    assert machine.config(at + 16, 4) == ACKNOWLEDGE
    for bar, offset, length in (
        (5, 0, 4),
        (0, 0x11, 2),
        (0, 0x4000, 4),
        (0, 0xFFFF_FFFC, 4),
        (0, 0, 3),
        (0, 0, 0),
    ):
        machine.set_config(at + 4, 1, bar)
        machine.set_config(at + 8, 4, offset)
        machine.set_config(at + 12, 4, length)
        machine.set_config(at + 16, 4, 0)
        assert machine.config(at + 16, 4) == 0
    assert driver.status == ACKNOWLEDGE


def test_state_moves_to_another_machine(driver: Driver) -> None:
    driver.start(event_idx=True, vectors=True)
    driver.request([(BUFFERS_BASE, 8, True)])
    record = driver.machine.root.save()

    twin = Machine(_rng(), driver.memory)
    twin.root.reset()
    twin.root.restore(record)
    other = Driver(twin)
    other.rings = driver.rings
    assert other.status == driver.status
    assert other.request([(BUFFERS_BASE, 9, True)]) == 9
    assert twin.messages == []  # used_event still asks for entry 0
    other.rings[0].put(other.rings[0].used_event, "<H", 2)
    other.request([(BUFFERS_BASE, 9, True)])
    assert twin.messages == [(MSI_ADDRESS, 0x41)]
    assert twin.root.save() == {**record, "1": twin.function.save()}
