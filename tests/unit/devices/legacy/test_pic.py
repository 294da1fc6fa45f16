"""The 8259 pair: priorities, every kind of end, triggers, spurious interrupts."""

from __future__ import annotations

import pytest
from fake_time import Recorder

from ringfence.devices.legacy.pic import PicPair

MASTER, MASTER_MASK, SLAVE, SLAVE_MASK, ELCR_LOW, ELCR_HIGH = range(6)
EOI, ROTATE_EOI, READ_IRR, READ_ISR, POLL = 0x20, 0xA0, 0x0A, 0x0B, 0x0C


class Pair(PicPair):
    def __init__(self, output: Recorder) -> None:
        super().__init__(output)
        self.initialize()

    def initialize(self, icw4: int = 0x01, slave_icw4: int = 0x01) -> None:
        for base, vector, wire, last in ((MASTER, 0x30, 4, icw4), (SLAVE, 0x38, 2, slave_icw4)):
            self.put(base, 0x11)
            for value in (vector, wire, last, 0):
                self.put(base + 1, value)

    def put(self, register: int, value: int) -> None:
        self.write(register, 1, value)

    def get(self, register: int) -> int:
        return self.read(register, 1)

    def raise_(self, *irqs: int) -> None:
        for irq in irqs:
            self.lines[irq](True)

    def pulse(self, *irqs: int) -> None:
        for irq in irqs:
            self.lines[irq](True)
            self.lines[irq](False)

    def registers(self) -> tuple[int, int]:
        """IRR and ISR of the master."""
        self.put(MASTER, READ_IRR)
        irr = self.get(MASTER)
        self.put(MASTER, READ_ISR)
        return irr, self.get(MASTER)


@pytest.fixture
def pic(line: Recorder) -> Pair:
    return Pair(line)


def test_an_edge_interrupts_until_acknowledged(pic: Pair, line: Recorder) -> None:
    pic.pulse(3)
    assert pic.has_interrupt
    assert pic.registers() == (0x08, 0x00)
    assert pic.acknowledge() == 0x33
    assert not pic.has_interrupt
    assert not line.level
    assert pic.registers() == (0x00, 0x08)
    pic.put(MASTER, EOI)
    assert pic.registers() == (0, 0)


def test_a_held_edge_interrupts_once(pic: Pair) -> None:
    pic.raise_(3)
    pic.acknowledge()
    pic.put(MASTER, EOI)
    assert not pic.has_interrupt
    pic.raise_(3)
    assert not pic.has_interrupt


def test_higher_priorities_nest(pic: Pair) -> None:
    pic.pulse(5)
    assert pic.acknowledge() == 0x35
    pic.pulse(6)
    assert not pic.has_interrupt
    pic.pulse(1)
    assert pic.acknowledge() == 0x31
    pic.put(MASTER, EOI)
    assert pic.registers()[1] == 0x20
    pic.put(MASTER, EOI)
    assert pic.acknowledge() == 0x36


def test_masks(pic: Pair) -> None:
    pic.put(MASTER_MASK, 0xFF)
    pic.pulse(0)
    assert not pic.has_interrupt
    assert pic.get(MASTER_MASK) == 0xFF
    pic.put(MASTER_MASK, 0xFE)
    assert pic.acknowledge() == 0x30


def test_the_slave_comes_through_the_cascade(pic: Pair) -> None:
    pic.pulse(12)
    assert pic.acknowledge() == 0x3C
    assert pic.registers()[1] == 0x04
    pic.pulse(8)
    assert not pic.has_interrupt, "fully nested: the master still serves line 2"
    pic.put(SLAVE, EOI)
    pic.put(MASTER, EOI)
    assert pic.acknowledge() == 0x38


def test_the_slave_comes_before_line_3(pic: Pair) -> None:
    pic.pulse(3, 15, 1)
    vectors = []
    for _ in range(3):
        vectors.append(pic.acknowledge())
        pic.put(SLAVE, EOI)
        pic.put(MASTER, EOI)
    assert vectors == [0x31, 0x3F, 0x33]


def test_two_slave_requests_in_turn(pic: Pair) -> None:
    pic.pulse(9, 10)
    assert pic.acknowledge() == 0x39
    pic.put(SLAVE, EOI)
    pic.put(MASTER, EOI)
    assert pic.acknowledge() == 0x3A


def test_special_fully_nested_mode_lets_the_slave_nest(pic: Pair) -> None:
    pic.initialize(icw4=0x11)
    pic.pulse(12)
    pic.acknowledge()
    pic.pulse(8)
    assert pic.acknowledge() == 0x38


def test_spurious_interrupts(pic: Pair) -> None:
    pic.put(ELCR_LOW, 0x20)
    pic.raise_(5)
    pic.lines[5](False)
    assert not pic.has_interrupt
    assert pic.acknowledge() == 0x37
    assert pic.registers()[1] == 0, "no in-service bit for it"
    pic.put(ELCR_HIGH, 0x04)
    pic.raise_(10)
    pic.lines[10](False)
    assert pic.acknowledge() == 0x3F, "the master took the cascade for real"
    assert pic.registers()[1] == 0x04


def test_level_triggered_lines_interrupt_as_long_as_they_are_high(pic: Pair) -> None:
    pic.put(ELCR_HIGH, 0x02)
    pic.raise_(9)
    assert pic.acknowledge() == 0x39
    pic.put(SLAVE, EOI)
    pic.put(MASTER, EOI)
    assert pic.has_interrupt
    pic.lines[9](False)
    pic.put(MASTER, READ_IRR)
    pic.put(SLAVE, READ_IRR)
    assert pic.get(SLAVE) == 0


def test_some_lines_are_always_edge_triggered(pic: Pair) -> None:
    pic.put(ELCR_LOW, 0xFF)
    pic.put(ELCR_HIGH, 0xFF)
    assert (pic.get(ELCR_LOW), pic.get(ELCR_HIGH)) == (0xF8, 0xDE)


def test_icw1_can_make_all_level_triggered(pic: Pair) -> None:
    pic.put(MASTER, 0x19)
    for value in (0x30, 4, 1, 0):
        pic.put(MASTER_MASK, value)
    pic.raise_(0)
    pic.acknowledge()
    pic.put(MASTER, EOI)
    assert pic.has_interrupt


def test_specific_end(pic: Pair) -> None:
    pic.pulse(5)
    pic.acknowledge()
    pic.pulse(1)
    pic.acknowledge()
    pic.put(MASTER, 0x65)
    assert pic.registers()[1] == 0x02


def test_rotation_on_end(pic: Pair) -> None:
    pic.pulse(2 + 1, 6)
    assert pic.acknowledge() == 0x33
    pic.put(MASTER, ROTATE_EOI)  # line 3 is now the lowest
    pic.pulse(3, 4)
    assert pic.acknowledge() == 0x34
    pic.put(MASTER, 0xE4)  # rotate on specific end: line 4 the lowest
    assert pic.acknowledge() == 0x36
    pic.put(MASTER, EOI)
    assert pic.acknowledge() == 0x33


def test_set_priority(pic: Pair) -> None:
    pic.put(MASTER, 0xC4)  # line 4 the lowest, 5 the highest
    pic.pulse(0, 4, 5)
    order = []
    for _ in range(3):
        order.append(pic.acknowledge() & 7)
        pic.put(MASTER, EOI)
    assert order == [5, 0, 4]


def test_automatic_end(pic: Pair) -> None:
    pic.initialize(icw4=0x03)
    pic.pulse(4)
    pic.acknowledge()
    assert pic.registers() == (0, 0)
    pic.put(MASTER, 0x80)  # rotate in automatic end mode
    pic.pulse(0)
    pic.acknowledge()
    pic.pulse(0, 7)
    assert [pic.acknowledge(), pic.acknowledge()] == [0x37, 0x30]


def test_special_mask_mode(pic: Pair) -> None:
    pic.pulse(2 + 1)
    pic.acknowledge()
    pic.put(MASTER, 0x68)
    pic.put(MASTER_MASK, 0x08)
    pic.pulse(6)
    assert pic.acknowledge() == 0x36, "a lower one, as the one in service is masked"
    pic.put(MASTER, EOI)
    assert pic.registers()[1] == 0x08, "the masked one is not ended by a non-specific end"
    pic.put(MASTER, 0x48)
    pic.pulse(6)
    assert not pic.has_interrupt


def test_polling(pic: Pair) -> None:
    pic.put(MASTER, POLL)
    assert pic.get(MASTER) == 0
    pic.pulse(6)
    pic.put(MASTER, POLL)
    assert pic.get(MASTER) == 0x86
    assert not pic.has_interrupt
    assert pic.registers()[1] == 0x40
    pic.put(MASTER, EOI)
    pic.pulse(14)
    pic.put(SLAVE, POLL)
    assert pic.get(SLAVE) == 0x86


def test_initializing_clears_masks_and_edges(pic: Pair) -> None:
    pic.raise_(3)
    pic.acknowledge()
    pic.put(MASTER_MASK, 0xFF)
    pic.raise_(4)
    pic.put(MASTER, 0x11)
    for value in (0x70, 4, 1):
        pic.put(MASTER_MASK, value)
    assert pic.get(MASTER_MASK) == 0
    assert pic.registers() == (0, 0)
    pic.raise_(4)
    assert not pic.has_interrupt, "a line that is high must fall first"
    pic.lines[4](False)
    pic.pulse(4)
    assert pic.acknowledge() == 0x74


def test_without_icw4(pic: Pair) -> None:
    pic.initialize(icw4=0x03)
    pic.put(MASTER, 0x10)
    for value in (0x40, 4):
        pic.put(MASTER_MASK, value)
    pic.put(MASTER_MASK, 0x55)
    assert pic.get(MASTER_MASK) == 0x55, "the third byte is the mask already"
    pic.pulse(1)
    pic.acknowledge()
    assert pic.registers()[1] == 0x02, "automatic end is off again"


def test_any_bytes_are_survived(pic: Pair) -> None:
    for register in (MASTER, SLAVE, MASTER_MASK, SLAVE_MASK, ELCR_LOW, ELCR_HIGH):
        for value in range(256):
            pic.put(register, value)
            pic.pulse(value & 15)
            assert 0 <= pic.get(register) <= 0xFF
            assert 0 <= pic.acknowledge() <= 0xFF


def test_save_and_restore(pic: Pair) -> None:
    pic.put(MASTER_MASK, 0x40)
    pic.pulse(4, 12, 6)
    pic.acknowledge()
    output = Recorder()
    other = Pair(output)
    other.restore(pic.save())
    assert other.save() == pic.save()
    assert output.level == pic.has_interrupt
    for pair in (pic, other):
        pair.put(SLAVE, EOI)
        pair.put(MASTER, EOI)
    assert pic.acknowledge() == other.acknowledge() == 0x34
    pic.reset()
    assert not pic.has_interrupt
