"""No sequence of a guest's accesses raises, hangs, or gives a value wider than it was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_time import FakeTime
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.devices.device import Device
from ringfence.devices.irq import Line
from ringfence.devices.legacy.acpi_pm import AcpiPm
from ringfence.devices.legacy.hpet import Hpet
from ringfence.devices.legacy.i8042 import I8042
from ringfence.devices.legacy.ioapic import IoApic
from ringfence.devices.legacy.pic import PicPair
from ringfence.devices.legacy.pit import Pit
from ringfence.devices.legacy.rtc import Rtc
from ringfence.devices.legacy.uart import Uart

#: name -> (how to build it, how many bytes of registers it has)
DEVICES: dict[str, tuple[Callable[[FakeTime], Device], int]] = {
    "acpi_pm": (lambda time: AcpiPm(time.clock, Line(), lambda: None), 0x24),
    "hpet": (lambda time: Hpet(time.clock, {20: Line()}, Line(), Line()), 0x400),
    "i8042": (lambda time: I8042(Line(), Line(), lambda: None), 8),
    "ioapic": (lambda time: IoApic(lambda *message: None), 0x40),
    "pic": (lambda time: PicPair(), 6),
    "pit": (lambda time: Pit(time.clock, Line()), 5),
    "rtc": (lambda time: Rtc(time.clock, Line(), lambda: time.ns), 2),
    "uart": (lambda time: Uart(Line(), lambda data: None), 8),
}

_ACCESS = st.tuples(
    st.booleans(),
    st.integers(0, 0x3FF),
    st.sampled_from((1, 2, 4, 8)),
    st.one_of(st.integers(0, 0xFF), st.integers(0, (1 << 64) - 1)),
    st.sampled_from((0, 1, 1_000, 1_000_000, 3_000_000_000)),
)


@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=60)
@given(accesses=st.lists(_ACCESS, max_size=60))
def test_any_accesses_are_survived(name: str, accesses: list[tuple[bool, int, int, int, int]]) -> None:
    build, size = DEVICES[name]
    time = FakeTime()
    device = build(time)
    for is_write, offset, width, value, wait_ns in accesses:
        offset %= size
        width = width if offset + width <= size else 1  # the bus lets no access cross the end
        if is_write:
            device.write(offset, width, value & (1 << 8 * width) - 1)
        else:
            assert 0 <= device.read(offset, width) < 1 << 8 * width
        time.stall(wait_ns)
    record = device.save()
    other = build(time)
    other.restore(record)
    assert other.save() == record
    device.reset()
