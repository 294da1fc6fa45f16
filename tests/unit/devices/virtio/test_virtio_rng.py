"""virtio-rng fills what it is given, up to its limit."""

from __future__ import annotations

from fake_guest import BUFFERS_BASE, Driver, Machine

from ringfence.devices.virtio.rng import REQUEST_BYTES_MAX, VirtioRng


def test_fills_from_the_host() -> None:
    driver = Driver(Machine(VirtioRng("rng")))
    driver.start()
    assert driver.request([(BUFFERS_BASE, 32, True), (BUFFERS_BASE + 64, 32, True)]) == 64
    first, second = driver.memory.read(BUFFERS_BASE, 32), driver.memory.read(BUFFERS_BASE + 64, 32)
    assert len({first, second, bytes(32)}) == 3
    assert driver.machine.function.metrics()["bytes"] == 64


def test_one_request_is_bounded() -> None:
    asked: list[int] = []

    def source(n: int) -> bytes:
        asked.append(n)
        return bytes(n)

    driver = Driver(Machine(VirtioRng("rng", source)))
    driver.start()
    assert driver.request([(BUFFERS_BASE, 0x8_0000, True)] * 16) == REQUEST_BYTES_MAX
    assert asked == [REQUEST_BYTES_MAX]


def test_nothing_to_write_to() -> None:
    driver = Driver(Machine(VirtioRng("rng")))
    driver.start()
    assert driver.request([(BUFFERS_BASE, 8, False)]) == 0
