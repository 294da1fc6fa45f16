"""FERR#, IRQ 13 and port 0xF0."""

from __future__ import annotations

from ringfence.devices.irq import Line
from ringfence.devices.legacy.coprocessor import Coprocessor


def test_an_error_raises_the_line_until_the_port_is_written() -> None:
    levels: list[bool] = []
    device = Coprocessor(Line(levels.append))
    device.assert_error()
    device.assert_error()
    assert levels == [True]
    device.write(0, 1, 0)
    assert levels == [True, False]


def test_a_restored_error_drives_the_line_again() -> None:
    device = Coprocessor(Line())
    device.assert_error()
    line = Line()
    other = Coprocessor(line)
    other.restore(device.save())
    assert line.level
