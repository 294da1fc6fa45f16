"""The I/O APIC: its registers, edges, levels and ends; MSI messages."""

from __future__ import annotations

import pytest

from ringfence.devices.legacy import msi
from ringfence.devices.legacy.ioapic import PINS, IoApic

LEVEL, MASKED, REMOTE_IRR, LOGICAL = 1 << 15, 1 << 16, 1 << 14, 1 << 11


class Apic(IoApic):
    def __init__(self) -> None:
        self.sent: list[tuple[int, bool, int, int, bool]] = []
        super().__init__(lambda *message: self.sent.append(message))

    def get(self, register: int) -> int:
        self.write(0x00, 4, register)
        return self.read(0x10, 4)

    def put(self, register: int, value: int) -> None:
        self.write(0x00, 4, register)
        self.write(0x10, 4, value)

    def route(self, pin: int, low: int, destination: int = 0) -> None:
        self.put(0x11 + 2 * pin, destination << 24)
        self.put(0x10 + 2 * pin, low)

    def pulse(self, pin: int) -> None:
        self.lines[pin](True)
        self.lines[pin](False)


@pytest.fixture
def apic() -> Apic:
    return Apic()


def test_identity(apic: Apic) -> None:
    assert apic.get(1) == 0x170011
    apic.put(0, 0xFF00_0000)
    assert apic.get(0) == 0x0F00_0000
    assert apic.get(2) == 0x0F00_0000
    apic.put(1, 0)
    assert apic.get(1) == 0x170011
    assert apic.read(0x00, 4) == 1
    assert [apic.get(0x10 + 2 * pin) for pin in range(PINS)] == [MASKED] * PINS
    assert apic.get(0x40) == apic.get(0xFF) == 0


def test_an_edge_sends_one_message(apic: Apic) -> None:
    apic.route(4, 0x31, destination=7)
    apic.pulse(4)
    assert apic.sent == [(7, False, 0, 0x31, False)]
    apic.route(5, 0x172 | LOGICAL, destination=0x0F)
    apic.lines[5](True)
    apic.lines[5](True)
    assert apic.sent[1:] == [(0x0F, True, 1, 0x72, False)]


def test_a_masked_edge_is_lost(apic: Apic) -> None:
    apic.route(4, 0x31 | MASKED)
    apic.pulse(4)
    apic.lines[4](True)
    apic.route(4, 0x31)
    assert apic.sent == []
    apic.lines[4](False)
    apic.lines[4](True)
    assert len(apic.sent) == 1


def test_a_level_repeats_after_its_end(apic: Apic) -> None:
    apic.route(9, 0x50 | LEVEL)
    apic.lines[9](True)
    assert apic.sent == [(0, False, 0, 0x50, True)]
    assert apic.get(0x10 + 18) == 0x50 | LEVEL | REMOTE_IRR
    apic.eoi(0x51)
    assert len(apic.sent) == 1
    apic.eoi(0x50)
    assert len(apic.sent) == 2, "still high"
    apic.lines[9](False)
    apic.eoi(0x50)
    assert len(apic.sent) == 2
    assert apic.get(0x10 + 18) == 0x50 | LEVEL
    apic.lines[9](True)
    assert len(apic.sent) == 3


def test_a_masked_level_waits(apic: Apic) -> None:
    apic.route(9, 0x50 | LEVEL | MASKED)
    apic.lines[9](True)
    assert apic.sent == []
    apic.route(9, 0x50 | LEVEL)
    assert len(apic.sent) == 1


def test_going_through_edge_mode_ends_a_stuck_level(apic: Apic) -> None:
    apic.route(9, 0x50 | LEVEL)
    apic.lines[9](True)
    apic.put(0x10 + 18, 0x50 | MASKED)
    assert apic.get(0x10 + 18) == 0x50 | MASKED
    apic.put(0x10 + 18, 0x50 | LEVEL)
    assert len(apic.sent) == 2


def test_read_only_and_reserved_bits(apic: Apic) -> None:
    apic.put(0x10, 0xFFFF_FFFF)
    assert apic.get(0x10) == 0x1AFFF
    apic.put(0x11, 0xFFFF_FFFF)
    assert apic.get(0x11) == 0xFF00_0000


def test_who_may_nmi(apic: Apic) -> None:
    assert not apic.may_nmi
    apic.route(3, 0x400 | MASKED)
    assert not apic.may_nmi
    apic.route(3, 0x400)
    assert apic.may_nmi


def test_odd_accesses_do_nothing(apic: Apic) -> None:
    apic.route(0, 0x20)
    apic.write(0x20, 4, 0xFFFF)
    apic.write(0x11, 1, 0xFF)
    assert apic.read(0x20, 4) == 0
    assert apic.get(0x10) == 0x20


def test_save_and_restore(apic: Apic) -> None:
    apic.route(9, 0x50 | LEVEL)
    apic.lines[9](True)
    other = Apic()
    other.restore(apic.save())
    assert other.save() == apic.save()
    other.lines[9](True)  # the device drives its line anew
    assert other.sent == []
    other.eoi(0x50)
    assert len(other.sent) == 1
    other.reset()
    assert other.get(0x10 + 18) == MASKED


def test_msi() -> None:
    assert msi.decode(0xFEE0_3000, 0x0041) == (3, False, 0, 0x41, False)
    assert msi.decode(0xFEE0_F00C, 0xC1F0) == (0x0F, True, 1, 0xF0, True)
    assert msi.decode(0xFED0_0000, 0) is None
    assert msi.decode(0x1_FEE0_0000, 0) is None
