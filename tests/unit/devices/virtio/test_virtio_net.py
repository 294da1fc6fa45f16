"""virtio-net: frames both ways, merged buffers, drops that are counted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest
from fake_guest import BUFFERS_BASE, Driver, Machine

from ringfence.devices.virtio.common_config import NEEDS_RESET
from ringfence.devices.virtio.net import (
    F_MAC,
    F_MRG_RXBUF,
    F_OFFLOADS,
    F_STATUS,
    RECEIVE,
    TRANSMIT,
    VirtioNet,
)
from ringfence.network.backend import QUEUE_PACKETS_MAX, OnReceive
from ringfence.network.loopback import Loopback
from ringfence.network.offload import FRAME_BYTES_MAX, PLAIN

MAC = bytes.fromhex("525400123456")
HEADER_BYTES = 12
FRAME = bytes(range(60))
TX = BUFFERS_BASE
RX = BUFFERS_BASE + 0x1_0000


class Cable:
    """Frames without their header, where that asks for nothing."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_busy = False
        self.transmit: Callable[[], None] | None = None
        self.times_gone_on = 0

    def connect(self, on_receive: OnReceive) -> None:
        self.on_receive = on_receive

    def receive(self, frame: bytes, header: bytes = PLAIN) -> bool:
        return self.on_receive([header + frame])

    def send(self, packets: Sequence[bytes]) -> None:
        self.sent += packets

    def defer(self, transmit: Callable[[], None]) -> bool:
        self.transmit = transmit if self.is_busy else None
        return self.is_busy

    def hold(self, is_held: bool) -> None: ...

    def go_on(self) -> None:
        self.times_gone_on += 1

    def close(self) -> None: ...

    def metrics(self) -> dict[str, int]:
        return {"passed": len(self.sent)}


@pytest.fixture
def cable() -> Cable:
    return Cable()


@pytest.fixture
def net(cable: Cable) -> VirtioNet:
    return VirtioNet("net", cable, MAC)


@pytest.fixture
def driver(net: VirtioNet) -> Driver:
    driver = Driver(Machine(net))
    driver.start(F_MAC | F_STATUS | F_MRG_RXBUF)
    return driver


def _offer(driver: Driver, *sizes: int) -> list[int]:
    """Receive buffers of these sizes; returns where they are."""
    ring = driver.rings[RECEIVE]
    places = [RX + 0x4000 * n for n in range(len(sizes))]
    for n, (gpa, size) in enumerate(zip(places, sizes, strict=True)):
        ring.offer(ring.chain([(gpa, size, True)], first=n))
    driver.notify(RECEIVE)
    return places


def test_configuration(driver: Driver) -> None:
    assert driver.offered() & 0xFFFF_FFFF & ~(3 << 28) == F_MAC | F_STATUS | F_MRG_RXBUF | F_OFFLOADS
    assert driver.device_config(0, 4).to_bytes(4, "little") == MAC[:4]
    assert driver.device_config(4, 2).to_bytes(2, "little") == MAC[4:]
    assert driver.device_config(6, 2) == 1


@pytest.mark.parametrize("mac", [b"", bytes(5), b"\xff" * 6, b"\x01" + bytes(5)])
def test_mac_is_a_station(mac: bytes) -> None:
    with pytest.raises(ValueError, match="MAC"):
        VirtioNet("net", Cable(), mac)


def test_transmits_without_the_header(driver: Driver, cable: Cable) -> None:
    driver.memory.write(TX, PLAIN + FRAME)
    assert driver.request([(TX, 20, False), (TX + 20, 52, False)], queue=TRANSMIT) == 0
    assert cable.sent == [PLAIN + FRAME]
    metrics = driver.machine.function.metrics()
    assert (metrics["transmitted_packets"], metrics["transmitted_bytes"]) == (1, len(FRAME))


@pytest.mark.parametrize("size", [1, HEADER_BYTES, HEADER_BYTES + 13, HEADER_BYTES + FRAME_BYTES_MAX + 1])
def test_drops_what_is_not_a_frame(driver: Driver, cable: Cable, size: int) -> None:
    assert driver.request([(TX, size, False)], queue=TRANSMIT) == 0
    assert cable.sent == []
    assert driver.machine.function.metrics()["transmit_dropped"] == 1


def test_a_busy_network_gets_one_batch_later(driver: Driver, net: VirtioNet, cable: Cable) -> None:
    ring = driver.rings[TRANSMIT]
    driver.memory.write(TX, PLAIN + FRAME)
    cable.is_busy = True
    for first in range(3):
        ring.offer(ring.chain([(TX, 72, False)], first=first))
        driver.notify(TRANSMIT)
    assert cable.sent == [] and ring.take() == []
    saved = net.save()
    cable.is_busy = False
    assert cable.transmit is not None
    cable.transmit()
    assert cable.sent == [PLAIN + FRAME] * 3
    assert [head for head, _ in ring.take()] == [0, 1, 2]
    ring.offer(ring.chain([(TX, 72, False)], first=4))
    net.restore(saved)
    driver.machine.run_posted()
    assert len(cable.sent) == 4, "what waited is not forgotten by a saved machine"


def test_a_full_guest_says_so_and_when_it_has_room_again(driver: Driver, cable: Cable) -> None:
    assert not cable.receive(FRAME)
    _offer(driver, 100)
    assert cable.times_gone_on == 1
    _offer(driver, 100)
    assert cable.receive(FRAME) and cable.times_gone_on == 1


def test_receives(driver: Driver, cable: Cable) -> None:
    (place,) = _offer(driver, 1514 + HEADER_BYTES)
    cable.receive(FRAME)
    assert driver.rings[RECEIVE].take() == [(0, HEADER_BYTES + 60)]
    assert driver.memory.read(place, HEADER_BYTES + 60) == struct.pack("<10xH", 1) + FRAME
    assert driver.machine.wire.level


def test_a_frame_spreads_over_merged_buffers(driver: Driver, cable: Cable) -> None:
    first, second, third = _offer(driver, 32, 30, 100)
    cable.receive(FRAME)
    assert driver.rings[RECEIVE].take() == [(0, 32), (1, 30), (2, 10)]
    assert driver.memory.read(first, 12) == struct.pack("<10xH", 3)
    got = driver.memory.read(first + 12, 20) + driver.memory.read(second, 30) + driver.memory.read(third, 10)
    assert got == FRAME


def test_too_few_buffers_leave_the_frame_waiting(driver: Driver, cable: Cable) -> None:
    ring = driver.rings[RECEIVE]
    _offer(driver, 32, 30)
    cable.receive(FRAME)
    assert ring.take() == []
    ring.offer(ring.chain([(RX + 0x8000, 64, True)], first=2))
    driver.notify(RECEIVE)
    assert [length for _, length in ring.take()] == [32, 30, 10]


def test_a_frame_too_long_for_the_only_buffer_is_dropped(driver: Driver, cable: Cable) -> None:
    driver.start(F_MAC)
    _offer(driver, 64, 128)
    cable.receive(FRAME)
    cable.receive(FRAME)
    assert driver.rings[RECEIVE].take() == [(0, 0), (1, 72)]
    assert driver.machine.function.metrics()["receive_dropped"] == 1


def test_a_buffer_without_room_for_the_header_breaks_the_queue(driver: Driver, cable: Cable) -> None:
    _offer(driver, 11)
    cable.receive(FRAME)
    assert driver.status & NEEDS_RESET
    cable.receive(FRAME)
    assert driver.machine.function.metrics()["receive_dropped"] == 1


def test_waiting_frames_are_bounded(driver: Driver, cable: Cable) -> None:
    for _ in range(QUEUE_PACKETS_MAX + 5):
        cable.receive(FRAME)
    assert driver.machine.function.metrics()["receive_dropped"] == 5


def test_nothing_arrives_before_the_driver_or_without_a_link(net: VirtioNet, cable: Cable) -> None:
    cable.receive(FRAME)
    driver = Driver(Machine(net))
    cable.receive(FRAME)
    driver.start(F_MAC | F_STATUS)
    net.set_link(False)
    assert driver.device_config(6, 2) == 0
    assert driver.isr() & 2
    cable.receive(FRAME)
    driver.request([(TX, 72, False)], queue=TRANSMIT)
    _offer(driver, 2048)
    assert driver.rings[RECEIVE].take() == []
    assert cable.sent == []


def test_loopback_returns_the_frame() -> None:
    driver = Driver(Machine(VirtioNet("net", Loopback(), MAC)))
    driver.start(F_MAC)
    (place,) = _offer(driver, 2048)
    driver.memory.write(TX, bytes(HEADER_BYTES) + FRAME)
    driver.request([(TX, 72, False)], queue=TRANSMIT)
    assert driver.rings[RECEIVE].take() == [(0, 72)]
    assert driver.memory.read(place + HEADER_BYTES, 60) == FRAME


def test_state(driver: Driver, net: VirtioNet, cable: Cable) -> None:
    cable.receive(FRAME)
    twin_net = VirtioNet("net", Cable(), MAC)
    twin = Machine(twin_net, driver.memory)
    twin.root.restore(driver.machine.root.save())
    other = Driver(twin)
    other.rings = driver.rings
    _offer(other, 2048)
    assert other.rings[RECEIVE].take() == [(0, 72)]
