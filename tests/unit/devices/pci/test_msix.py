"""MSI-X: messages, masks, pending bits."""

from __future__ import annotations

import pytest

from ringfence.devices.pci.config_space import Identity
from ringfence.devices.pci.function import Bar, PciFunction
from ringfence.devices.pci.msix import BAR_BYTES, PBA_OFFSET, VECTORS_MAX, MsiX

CONTROL = 0x42
ENABLE = 0x8000
MASK_ALL = 0x4000


class Card:
    """A function with three vectors: vector n sends (0xFEE0_0000 + n, 0x30 + n)."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []
        self.msix = MsiX("card", 3, 1, lambda address, data: self.sent.append((address, data)))
        bars = {1: Bar(self.msix, BAR_BYTES)}
        self.function = PciFunction("card", Identity(1, 2, 3), bars, [self.msix])

    def fill(self, control: int = 0) -> None:
        for vector in range(3):
            self.msix.write(16 * vector, 8, 0xFEE0_0000 + vector)
            self.msix.write(16 * vector + 8, 4, 0x30 + vector)
            self.msix.write(16 * vector + 12, 4, control)

    def control(self, value: int) -> None:
        self.function.write_config(CONTROL, 2, value)

    @property
    def pending(self) -> int:
        return self.msix.read(PBA_OFFSET, 8)


@pytest.fixture
def card() -> Card:
    card = Card()
    card.fill()
    card.control(ENABLE)
    return card


def test_capability(card: Card) -> None:
    assert card.function.read_config(0x40, 1) == 0x11
    assert card.function.read_config(CONTROL, 2) == ENABLE | 2
    assert card.function.read_config(0x44, 4) == 1
    assert card.function.read_config(0x48, 4) == PBA_OFFSET | 1
    card.function.write_config(0x40, 4, 0xFFFF_FFFF)
    assert card.function.read_config(CONTROL, 2) == ENABLE | MASK_ALL | 2


def test_sends(card: Card) -> None:
    card.msix.notify(0)
    card.msix.notify(2)
    assert card.sent == [(0xFEE0_0000, 0x30), (0xFEE0_0002, 0x32)]
    assert card.pending == 0


def test_vectors_start_masked() -> None:
    card = Card()
    card.control(ENABLE)
    card.msix.notify(1)
    assert card.sent == []
    assert card.pending == 2
    assert card.msix.read(12, 4) == 1


def test_unmasking_a_vector_sends_what_is_pending(card: Card) -> None:
    card.msix.write(16 + 12, 4, 1)
    card.msix.notify(1)
    card.msix.notify(1)
    assert (card.sent, card.pending) == ([], 2)
    card.msix.write(12, 4, 0)
    assert card.sent == []
    card.msix.write(16 + 12, 4, 0)
    assert (card.sent, card.pending) == ([(0xFEE0_0001, 0x31)], 0)


def test_unmasking_the_function_sends_what_is_pending(card: Card) -> None:
    card.control(ENABLE | MASK_ALL)
    card.msix.notify(0)
    card.msix.notify(2)
    assert (card.sent, card.pending) == ([], 5)
    card.control(ENABLE)
    assert len(card.sent) == 2
    assert card.pending == 0


def test_disabled_sends_and_remembers_nothing(card: Card) -> None:
    card.control(0)
    card.msix.notify(0)
    card.control(ENABLE)
    assert (card.sent, card.pending) == ([], 0)


def test_what_does_not_exist(card: Card) -> None:
    card.msix.notify(3)
    card.msix.notify(0xFFFF)
    card.msix.write(48, 4, 0xFFFF_FFFF)
    card.msix.write(46, 4, 0xFFFF_FFFF)
    card.msix.write(PBA_OFFSET, 8, 0xFFFF_FFFF)
    assert (card.sent, card.pending) == ([], 0)
    assert card.msix.read(48, 4) == 0
    assert card.msix.read(BAR_BYTES - 8, 8) == 0
    for vectors in (0, VECTORS_MAX + 1):
        with pytest.raises(ValueError, match="vectors"):
            MsiX("card", vectors, 0, lambda address, data: None)


def test_state(card: Card) -> None:
    card.msix.write(12, 4, 1)
    card.msix.notify(0)
    twin = Card()
    twin.function.restore(card.function.save())
    twin.msix.restore(card.msix.save())
    assert twin.pending == 1
    twin.msix.write(12, 4, 0)
    assert twin.sent == [(0xFEE0_0000, 0x30)]
    twin.msix.reset()
    assert twin.msix.read(12, 4) == 1
