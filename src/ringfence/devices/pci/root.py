"""Bus 0: up to 32 slots with one function each, and the four INTx wires they share.

PCI Local Bus 3.0, sections 2.2.6 (INTx) and 3.2.2.3 (configuration cycles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ringfence.devices.bus import Bus
from ringfence.devices.device import Record
from ringfence.devices.irq import Line
from ringfence.devices.pci import config_space as cs
from ringfence.devices.pci.function import PciFunction

SLOTS = 32
PINS = 4


class PciRoot:
    """The root bus: finds the function that a configuration cycle addresses.

    ``intx`` are the four wires to the interrupt controller. Pin p of slot s drives wire
    ``(s + p - 1) % 4``, so that neighbours do not share one.
    """

    name = "pci"

    def __init__(self, mmio: Bus, pio: Bus, intx: Sequence[Line]) -> None:
        self._mmio = mmio
        self._pio = pio
        self._wires = [_SharedWire(line) for line in intx]
        self.functions: dict[int, PciFunction] = {}

    def add(self, function: PciFunction, slot: int | None = None) -> int:
        """Plug a function into a slot, the first free one by default; returns the slot.

        Raises:
            ValueError: the slot is taken, or all of them are.
        """
        if slot is None:
            slot = next((n for n in range(SLOTS) if n not in self.functions), SLOTS)
        if slot in self.functions or not 0 <= slot < SLOTS:
            raise ValueError(f"{function.name}: no free PCI slot")
        self.functions[slot] = function
        function.attach(self._mmio, self._pio)
        if function.interrupt_pin:
            function.intx.connect(self._wires[self.wire_of(slot)].input(slot))
        return slot

    def wire_of(self, slot: int) -> int:
        """Which of the four INTx wires the function in ``slot`` drives."""
        return (slot + self.functions[slot].interrupt_pin - 1) % PINS

    def read_config(self, bus: int, slot: int, function: int, offset: int, size_bytes: int) -> int:
        target = self._find(bus, slot, function)
        if target is None:
            return (1 << 8 * size_bytes) - 1
        return target.read_config(offset, size_bytes)

    def write_config(
        self, bus: int, slot: int, function: int, offset: int, size_bytes: int, value: int
    ) -> None:
        target = self._find(bus, slot, function)
        if target is None:
            return
        target.write_config(offset, size_bytes, value)
        if offset < cs.BARS_END and offset + size_bytes > cs.COMMAND:
            target.decode()
            self.decode()

    def decode(self) -> None:
        """Map what is decoded and not mapped yet: a function may have moved out of the way."""
        for function in self.functions.values():
            function.decode()

    def _find(self, bus: int, slot: int, function: int) -> PciFunction | None:
        return self.functions.get(slot) if bus == 0 and function == 0 else None

    def save(self) -> Record:
        return {str(slot): function.save() for slot, function in self.functions.items()}

    def restore(self, record: Record) -> None:
        for slot, function in self.functions.items():
            state = record[str(slot)]
            assert isinstance(state, dict)
            function.restore(state)
        self.decode()

    def reset(self) -> None:
        for function in self.functions.values():
            function.reset()


class _SharedWire:
    """Level-triggered interrupts on one wire: it is high while any of them is."""

    def __init__(self, output: Line) -> None:
        self._output = output
        self._asserted: set[int] = set()

    def input(self, slot: int) -> Callable[[bool], None]:
        def sink(level: bool) -> None:
            (self._asserted.add if level else self._asserted.discard)(slot)
            self._output.set(bool(self._asserted))

        return sink
