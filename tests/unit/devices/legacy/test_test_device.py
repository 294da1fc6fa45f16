"""The device of kvm-unit-tests: latch, interrupt lines, storage window."""

from __future__ import annotations

from fake_time import Recorder

from ringfence.devices.legacy.test_device import WINDOW_BYTES, TestLatch, TestLines, TestWindow


def test_the_latch_keeps_every_size() -> None:
    latch = TestLatch()
    latch.write(0, 4, 0x4433_2211)
    assert latch.read(0, 4) == 0x4433_2211
    assert latch.read(1, 1) == 0x22
    assert latch.read(2, 2) == 0x4433
    latch.write(1, 1, 0xAA)
    latch.write(2, 2, 0xCCBB)
    assert latch.read(0, 4) == 0xCCBB_AA11
    assert latch.read(8, 4) == 0xCCBB_AA11, "the same latch, by bytes"
    latch.write(8, 4, 0x0102_0304)
    assert latch.read(0, 4) == 0x0102_0304
    latch.write(4, 4, 0xFFFF_F000)
    assert latch.read(0, 4) == 0x0102_0304, "flushing a page changes nothing"
    other = TestLatch()
    other.restore(latch.save())
    assert other.read(0, 4) == 0x0102_0304


def test_the_lines_follow_the_bytes() -> None:
    lines = [Recorder() for _ in range(24)]
    device = TestLines(lines)
    device.write(0x0E, 1, 1)
    assert lines[0x0E].level
    device.write(0x0E, 1, 1)
    device.write(0x0E, 1, 0)
    assert (lines[0x0E].level, lines[0x0E].edges) == (False, 1)
    device.write(200, 1, 1)
    device.write(3, 1, 1)
    device.reset()
    assert not lines[3].level


def test_the_window_is_storage() -> None:
    window = TestWindow()
    window.write(0x10, 8, 0x8877_6655_4433_2211)
    assert window.read(0x10, 8) == 0x8877_6655_4433_2211
    assert window.read(0x13, 2) == 0x5544
    window.write(WINDOW_BYTES - 1, 1, 0x1FF)
    assert window.read(WINDOW_BYTES - 1, 1) == 0xFF
    other = TestWindow()
    other.restore(window.save())
    assert other.read(0x10, 4) == 0x4433_2211
    other.reset()
    assert other.read(0x10, 8) == 0
