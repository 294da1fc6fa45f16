"""PCI: configuration access by both mechanisms, BAR sizing and moving, INTx routing."""

from __future__ import annotations

import pytest

from ringfence.devices.bus import Bus
from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.pci import config_space as cs
from ringfence.devices.pci.assign import Window, assign
from ringfence.devices.pci.capability import Capability
from ringfence.devices.pci.config_space import Identity
from ringfence.devices.pci.function import Bar, PciFunction
from ringfence.devices.pci.host_bridge import CONFIG_PORT, CONFIG_PORTS, ConfigPorts, EcamWindow, host_bridge
from ringfence.devices.pci.root import PciRoot

ECAM = 0xB000_0000


class Scratch:
    """A device that answers with its mark and the offset."""

    def __init__(self, mark: int) -> None:
        self.name = f"scratch-{mark:x}"
        self.mark = mark
        self.written: list[tuple[int, int, int]] = []

    def read(self, offset: int, size_bytes: int) -> int:
        return self.mark << 4 | offset

    def write(self, offset: int, size_bytes: int, value: int) -> None:
        self.written.append((offset, size_bytes, value))

    def save(self) -> Record:
        return {}

    def restore(self, record: Record) -> None: ...

    def reset(self) -> None: ...


class Card(PciFunction):
    """A memory BAR, a 64-bit one and a port BAR; asks for INTx when told to."""

    def __init__(self, mark: int, capabilities: tuple[Capability, ...] = ()) -> None:
        self.wants_interrupt = False
        self.memory, self.wide, self.ports = Scratch(mark), Scratch(mark + 1), Scratch(mark + 2)
        super().__init__(
            f"card-{mark:x}",
            Identity(0x1234, mark, 0x0B4000, revision=3),
            {
                0: Bar(self.memory, 0x1000),
                2: Bar(self.wide, 0x10000, is_64_bit=True),
                4: Bar(self.ports, 0x20, is_io=True),
            },
            capabilities,
            interrupt_pin=1,
        )

    @property
    def intx_is_pending(self) -> bool:
        return self.wants_interrupt


class Board:
    def __init__(self) -> None:
        self.mmio, self.pio = Bus("mmio", 1 << 40), Bus("pio", 1 << 16)
        self.wires = [Line() for _ in range(4)]
        self.root = PciRoot(self.mmio, self.pio, self.wires)
        self.root.add(host_bridge())
        self.card, self.other = Card(0xA0), Card(0xB0)
        self.root.add(self.card)
        self.root.add(self.other)
        self.reset_control = Scratch(0xC)
        self.pio.map(CONFIG_PORT, CONFIG_PORTS, ConfigPorts(self.root, self.reset_control))
        self.mmio.map(ECAM, 1 << 20, EcamWindow(self.root))

    def read(self, slot: int, offset: int, size_bytes: int = 4) -> int:
        return self.mmio.read(ECAM + (slot << 15) + offset, size_bytes)

    def write(self, slot: int, offset: int, value: int, size_bytes: int = 4) -> None:
        self.mmio.write(ECAM + (slot << 15) + offset, size_bytes, value)

    def select(self, slot: int, offset: int, bus: int = 0, function: int = 0) -> None:
        self.pio.write(0xCF8, 4, 1 << 31 | bus << 16 | slot << 11 | function << 8 | offset)


@pytest.fixture
def board() -> Board:
    return Board()


def test_mechanism_1_reads_every_width(board: Board) -> None:
    board.select(1, 0)
    assert board.pio.read(0xCF8, 4) == 0x8000_0800
    assert board.pio.read(0xCFC, 4) == 0x00A0_1234
    assert [board.pio.read(0xCFC + n, 1) for n in range(4)] == [0x34, 0x12, 0xA0, 0x00]
    assert [board.pio.read(0xCFC, 2), board.pio.read(0xCFE, 2)] == [0x1234, 0x00A0]
    board.select(1, 8)
    assert board.pio.read(0xCFC, 4) == 0x0B4000_03


def test_mechanism_1_writes_every_width(board: Board) -> None:
    board.select(1, 0x3C)
    board.pio.write(0xCFC, 1, 11)
    assert board.read(1, 0x3C) == 0x010B
    board.select(1, 0x10)
    board.pio.write(0xCFE, 2, 0xD000)
    assert board.read(1, 0x10) == 0xD000_0000


def test_mechanism_1_without_enable_or_function_reads_ones(board: Board) -> None:
    for slot, bus, function in ((3, 0, 0), (1, 1, 0), (1, 0, 1)):
        board.select(slot, 0, bus, function)
        board.pio.write(0xCFC, 4, 0)
        assert board.pio.read(0xCFC, 4) == 0xFFFF_FFFF
        assert board.pio.read(0xCFC, 2) == 0xFFFF
    board.pio.write(0xCF8, 4, 0x800)
    assert board.pio.read(0xCFC, 4) == 0xFFFF_FFFF


def test_only_a_doubleword_reaches_the_address(board: Board) -> None:
    board.select(1, 4)
    board.pio.write(0xCF8, 1, 0)
    board.pio.write(0xCFA, 2, 0)
    assert board.pio.read(0xCF8, 4) == 0x8000_0804
    board.pio.write(0xCF8, 4, 0xFFFF_FFFF)
    assert board.pio.read(0xCF8, 4) == 0x80FF_FFFC


def test_the_reset_control_port_passes_through(board: Board) -> None:
    board.pio.write(0xCF9, 1, 6)
    assert board.reset_control.written == [(0, 1, 6)]
    assert board.pio.read(0xCF9, 1) == 0xC0


def test_ecam_sees_the_same_registers(board: Board) -> None:
    assert board.read(0, 0) == 0x0008_1B36
    assert board.read(0, 8) == 0x0600_0000
    assert board.read(2, 0) == 0x00B0_1234
    assert board.read(3, 0) == 0xFFFF_FFFF
    assert board.read(1, 0x100) == 0xFFFF_FFFF
    assert board.mmio.read(ECAM + (1 << 15) + (1 << 12), 4) == 0xFFFF_FFFF


def test_identity_is_read_only(board: Board) -> None:
    before = [board.read(1, offset) for offset in (0, 8, 0x2C, 0x34)]
    for offset in range(0, 0x40, 4):
        board.write(1, offset, 0xFFFF_FFFF)
    assert [board.read(1, offset) for offset in (0, 8, 0x2C, 0x34)] == before
    assert board.read(1, cs.STATUS, 2) == 0
    assert board.read(1, cs.COMMAND, 2) == 0x0547


def test_bar_sizing(board: Board) -> None:
    for offset in range(0x10, 0x28, 4):
        board.write(1, offset, 0xFFFF_FFFF)
    sizes = [board.read(1, offset) for offset in range(0x10, 0x28, 4)]
    assert sizes == [0xFFFF_F000, 0, 0xFFFF_0004, 0xFFFF_FFFF, 0xFFFF_FFE1, 0]


def test_bars_follow_the_registers(board: Board) -> None:
    board.write(1, 0x10, 0xC000_0000)
    assert board.mmio.find(0xC000_0000, 4) is None
    board.write(1, cs.COMMAND, cs.COMMAND_MEMORY, 2)
    assert board.mmio.read(0xC000_0004, 4) == 0xA04
    assert board.pio.find(0xC000, 1) is None
    board.write(1, 0x10, 0xC000_1000)
    assert board.mmio.find(0xC000_0000, 4) is None
    assert board.mmio.read(0xC000_1000, 4) == 0xA00
    board.write(1, 0x18, 0)
    board.write(1, 0x1C, 0x10)
    assert board.mmio.read(0x10_0000_0008, 8) == 0xA18
    board.write(1, 0x20, 0xC001)
    board.write(1, cs.COMMAND, cs.COMMAND_IO, 2)
    assert board.pio.read(0xC002, 2) == 0xA22
    assert board.mmio.find(0xC000_1000, 4) is None


def test_an_overlap_is_refused_and_tried_again(board: Board) -> None:
    for slot in (1, 2):
        board.write(slot, 0x10, 0xC000_0000)
        board.write(slot, cs.COMMAND, cs.COMMAND_MEMORY, 2)
    assert board.mmio.read(0xC000_0000, 4) == 0xA00
    assert board.other.metrics() == {"bar_refused": 1}
    board.write(1, 0x10, 0xC100_0000)
    assert board.mmio.read(0xC000_0000, 4) == 0xB00
    assert board.mmio.read(0xC100_0000, 4) == 0xA00
    assert board.other.metrics() == {"bar_refused": 1}


@pytest.mark.parametrize("base", [ECAM, ECAM - 0x1000 + 0x1000 * 7, 0xFFFF_F000])
def test_a_bar_on_the_board_or_at_the_top_does_no_harm(board: Board, base: int) -> None:
    board.mmio.map(0xFFFF_0000, 0x1_0000, Scratch(0xF))
    board.write(1, 0x10, base)
    board.write(1, cs.COMMAND, cs.COMMAND_MEMORY, 2)
    assert board.card.metrics() == {"bar_refused": 1}
    assert board.read(0, 0) == 0x0008_1B36


def test_a_bar_beyond_the_bus_is_refused(board: Board) -> None:
    board.write(1, 0x1C, 0xFFFF_FFFF)
    board.write(1, 0x18, 0xFFFF_FFFF)
    board.write(1, cs.COMMAND, cs.COMMAND_MEMORY, 2)
    assert board.card.metrics() == {"bar_refused": 1}


def test_firmware_assigns_all(board: Board) -> None:
    assign(board.root, Window(0xC000_0000, 0x100_0000), Window(0xC004, 0x1000), (16, 17, 18, 19))
    assert [board.read(slot, 0x3C, 1) for slot in (1, 2)] == [17, 18]
    for slot, mark in ((1, 0xA0), (2, 0xB0)):
        assert board.read(slot, cs.COMMAND, 2) == 7
        assert board.mmio.read(board.read(slot, 0x10) & ~0xF, 4) == mark << 4
        assert board.mmio.read(board.read(slot, 0x18) & ~0xF, 4) == mark + 1 << 4
        assert board.pio.read(board.read(slot, 0x20) & ~3, 4) == mark + 2 << 4
    with pytest.raises(ValueError, match="no room"):
        assign(board.root, Window(0xC000_0000, 0x1_0000), Window(0xC000, 0x1000), (16, 17, 18, 19))


def test_shared_wires_stay_up_while_any_function_asks(board: Board) -> None:
    for _ in range(3, 5):
        board.root.add(Card(0xD0))
    third = Card(0xE0)
    assert board.root.add(third) == 5
    assert board.root.wire_of(1) == board.root.wire_of(5) == 1
    for card in (board.card, third):
        card.wants_interrupt = True
        card.update_intx()
    assert [wire.level for wire in board.wires] == [False, True, False, False]
    board.card.wants_interrupt = False
    board.card.update_intx()
    assert board.wires[1].level
    third.write_config(cs.COMMAND, 2, cs.COMMAND_INTX_DISABLE)
    assert not board.wires[1].level
    assert third.read_config(cs.STATUS, 2) & cs.STATUS_INTERRUPT


def test_capabilities_form_a_list() -> None:
    first, second = Capability(0x05, bytes(3), b"\xff"), Capability(0x09, b"\x06abc")
    card = Card(1, (first, second))
    assert card.read_config(cs.STATUS, 2) & cs.STATUS_CAPABILITIES
    assert card.read_config(0x34, 1) == 0x40
    assert card.read_config(0x40, 2) == 0x48 << 8 | 0x05
    assert card.read_config(0x48, 4) == int.from_bytes(b"\x09\x00\x06a", "little")
    card.write_config(0x40, 4, 0xFFFF_FFFF)
    assert card.read_config(0x40, 4) == 0x00FF_4805
    assert bytes(first.registers) == b"\x05\x48\xff\x00\x00"
    with pytest.raises(ValueError, match="no room"):
        Card(1, (Capability(9, bytes(200)),))


def test_slots_run_out(board: Board) -> None:
    with pytest.raises(ValueError, match="slot"):
        board.root.add(Card(1), slot=1)
    for _ in range(3, 32):
        board.root.add(Card(1))
    with pytest.raises(ValueError, match="slot"):
        board.root.add(Card(1))


def test_state(board: Board) -> None:
    assign(board.root, Window(0xC000_0000, 0x100_0000), Window(0xC000, 0x1000), (16, 17, 18, 19))
    board.card.wants_interrupt = True
    board.card.update_intx()
    twin = Board()
    # In the twin, addresses are the other way round first.
    twin.write(2, 0x10, board.read(1, 0x10))
    twin.write(2, cs.COMMAND, cs.COMMAND_MEMORY, 2)
    twin.card.wants_interrupt = True
    twin.root.restore(board.root.save())
    assert twin.root.save() == board.root.save()
    assert twin.wires[1].level
    for slot, mark in ((1, 0xA0), (2, 0xB0)):
        assert twin.mmio.read(board.read(slot, 0x10) & ~0xF, 4) == mark << 4
    twin.card.wants_interrupt = False
    twin.root.reset()
    assert not twin.wires[1].level
    assert twin.mmio.find(board.read(1, 0x10) & ~0xF, 4) is None
