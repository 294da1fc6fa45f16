"""Interrupt wires: which controller hears of what."""

from __future__ import annotations

from ringfence.board import ports
from ringfence.board.interrupts import Interrupts

LEVEL, MASKED = 1 << 15, 1 << 16


class FakeLapic:
    def __init__(self, id: int = 0) -> None:
        self.id = id
        self.messages: list[tuple[int, int, bool]] = []
        self.lint: dict[int, bool] = {}

    def matches(self, destination: int, is_logical: bool) -> bool:
        return destination in (self.id, 0xFF)

    def deliver(self, delivery_mode: int, vector: int, is_level: bool = False) -> None:
        self.messages.append((delivery_mode, vector, is_level))

    def set_lint(self, pin: int, level: bool) -> None:
        self.lint[pin] = level


class FakeProcessor:
    def __init__(self, id: int = 0) -> None:
        self.lapic = FakeLapic(id)


def wired(cpus: int = 1) -> tuple[Interrupts, list[FakeProcessor]]:
    processors = [FakeProcessor(n) for n in range(cpus)]
    interrupts = Interrupts(processors)
    for offset, value in ((0, 0x11), (1, 0x20), (1, 4), (1, 1), (2, 0x11), (3, 0x28), (3, 2), (3, 1)):
        interrupts.pic.write(offset, 1, value)
    return interrupts, processors


def set_pin(interrupts: Interrupts, pin: int, entry: int) -> None:
    for half in (1, 0):
        interrupts.ioapic.write(0, 4, 0x10 + 2 * pin + half)
        interrupts.ioapic.write(0x10, 4, entry >> 32 * half & 0xFFFF_FFFF)


def test_an_isa_wire_ends_at_both_controllers() -> None:
    interrupts, (cpu,) = wired()
    set_pin(interrupts, 4, 0x34)
    interrupts.irq(4).raise_()
    assert cpu.lapic.messages == [(0, 0x34, False)]
    assert cpu.lapic.lint == {0: True}
    assert interrupts.pic.acknowledge() == 0x24


def test_the_timer_is_on_pin_2() -> None:
    interrupts, (cpu,) = wired()
    set_pin(interrupts, 0, 0x30)
    set_pin(interrupts, 2, 0x32)
    interrupts.irq(0).pulse()
    assert cpu.lapic.messages == [(0, 0x32, False)]
    interrupts.irq(2).pulse()  # the cascade: nothing is connected there
    assert cpu.lapic.messages == [(0, 0x32, False)]


def test_pci_wires_are_pins_16_to_19_and_level_triggered_isa_inputs() -> None:
    interrupts, (cpu,) = wired()
    interrupts.initialize_pics()
    assert interrupts.pic.read(4, 2) == 0x0EA0
    assert (interrupts.pic.read(1, 1), interrupts.pic.read(3, 1)) == (0xFA, 0xFF), (
        "only the timer may interrupt"
    )
    for mask in (1, 3):
        interrupts.pic.write(mask, 1, 0)
    for wire, gsi in enumerate(ports.GSI_INTX):
        set_pin(interrupts, gsi, LEVEL | 0x40 + wire)
        interrupts.intx[wire].raise_()
        assert cpu.lapic.messages[-1] == (0, 0x40 + wire, True)
        chip = interrupts.pic.slave if ports.IRQ_INTX[wire] >= 8 else interrupts.pic.master
        assert chip.request() == ports.IRQ_INTX[wire] % 8
        interrupts.intx[wire].lower()
        assert chip.request() != ports.IRQ_INTX[wire] % 8


def test_every_interrupt_number_has_a_line() -> None:
    interrupts, _ = wired()
    assert len({id(interrupts.irq(gsi)) for gsi in range(24)}) == 24


def test_messages_from_devices() -> None:
    interrupts, (first, second) = wired(cpus=2)
    interrupts.send_msi(0xFEE0_1000, 0x41)
    assert (first.lapic.messages, second.lapic.messages) == ([], [(0, 0x41, False)])
    interrupts.send_msi(0xFEEF_F000, 0x0142)  # lowest priority, to all
    assert first.lapic.messages == [(1, 0x42, False)] and len(second.lapic.messages) == 1
    interrupts.send_msi(0x1000, 0x43)
    assert len(first.lapic.messages) == 1
