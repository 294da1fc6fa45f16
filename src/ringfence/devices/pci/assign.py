"""Assigns addresses and interrupts to the functions of a bus, as firmware does before it boots.

A kernel that is loaded without firmware finds its devices ready: BARs inside the windows, the
interrupt line register set, decoding on. A guest is free to move everything later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.devices.pci import config_space as cs
from ringfence.devices.pci.root import PciRoot


@dataclass(frozen=True)
class Window:
    """A range of addresses that the board leaves to PCI."""

    base: int
    size_bytes: int


def assign(root: PciRoot, memory: Window, io: Window, irqs: Sequence[int]) -> None:
    """Give every BAR a place; ``irqs`` are the numbers of the root's four INTx wires.

    Raises:
        ValueError: a window is too small.
    """
    free = {False: memory.base, True: io.base}
    end = {False: memory.base + memory.size_bytes, True: io.base + io.size_bytes}
    for slot, function in root.functions.items():
        command = function.config.get(cs.COMMAND, 2) | cs.COMMAND_MASTER
        for index, bar in function.bars.items():
            base = -(-free[bar.is_io] // bar.size_bytes) * bar.size_bytes
            if base + bar.size_bytes > end[bar.is_io]:
                raise ValueError(f"{function.name}: no room for BAR {index}")
            free[bar.is_io] = base + bar.size_bytes
            offset = cs.BAR0 + 4 * index
            function.write_config(offset, 4, base & 0xFFFF_FFFF)
            if bar.is_64_bit:
                function.write_config(offset + 4, 4, base >> 32)
            command |= cs.COMMAND_IO if bar.is_io else cs.COMMAND_MEMORY
        if function.interrupt_pin:
            function.write_config(cs.INTERRUPT_LINE, 1, irqs[root.wire_of(slot)])
        function.write_config(cs.COMMAND, 2, command)
    root.decode()
