"""A PCI function: configuration space, the BARs it decodes and its INTx interrupt.

PCI Local Bus 3.0, sections 6.2.2 (command), 6.2.4 (interrupt pin) and 6.2.5 (base addresses).
When the guest programs a BAR or a decode bit, the BAR's device moves on the memory or port bus.
A guest may point a BAR at another device: the newcomer is refused and counted, and tried again
when something else moves away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringfence.devices.bus import Bus
from ringfence.devices.device import Device, Record
from ringfence.devices.irq import Line
from ringfence.devices.pci import config_space as cs
from ringfence.devices.pci.capability import Capability
from ringfence.devices.pci.config_space import ConfigSpace, Identity

_BAR_IO = 0b1
_BAR_64_BIT = 0b100


@dataclass(frozen=True)
class Bar:
    """A region that a function decodes: ``size_bytes`` is a power of two, 16 or more."""

    device: Device
    size_bytes: int
    is_io: bool = False
    is_64_bit: bool = False


class PciFunction:
    """What answers in one slot of the bus. ``bars`` is by BAR index; ``interrupt_pin`` 1 is INTA."""

    def __init__(
        self,
        name: str,
        identity: Identity,
        bars: Mapping[int, Bar] | None = None,
        capabilities: Sequence[Capability] = (),
        interrupt_pin: int = 0,
    ) -> None:
        self.name = name
        self.config = ConfigSpace(identity, interrupt_pin)
        self.bars = dict(bars or {})
        for index, bar in self.bars.items():
            type_bits = _BAR_IO if bar.is_io else _BAR_64_BIT if bar.is_64_bit else 0
            self.config.add_bar(index, bar.size_bytes, type_bits, bar.is_64_bit)
        for capability in capabilities:
            self.config.add_capability(capability)
        self._power_on = bytes(self.config.data)
        self.interrupt_pin = interrupt_pin
        #: the INTx wire; the root bus routes it
        self.intx = Line()
        self._buses: tuple[Bus, Bus] | None = None
        self._mapped: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        #: events worth knowing: ``bar_refused``
        self.counters: Counter[str] = Counter()

    # Configuration space.

    def read_config(self, offset: int, size_bytes: int) -> int:
        return self.config.read(offset, size_bytes)

    def write_config(self, offset: int, size_bytes: int, value: int) -> None:
        self.config.write(offset, size_bytes, value)
        self.update_intx()

    # BARs.

    def attach(self, mmio: Bus, pio: Bus) -> None:
        """Plug the function in: its BARs decode on these buses."""
        self._buses = (mmio, pio)

    def bar_address(self, index: int) -> int:
        """Where the guest has put a BAR, whether it is decoded or not."""
        bar = self.bars[index]
        value = self.config.get(cs.BAR0 + 4 * index, 8 if bar.is_64_bit else 4)
        return value & -bar.size_bytes

    def decode(self) -> None:
        """Bring the buses in line with the BARs and the command register."""
        if self._buses is None:
            return
        for index, bar in self.bars.items():
            bus = self._buses[bar.is_io]
            wanted = self._decoded_address(index)
            mapped = self._mapped.get(index)
            if wanted == mapped:
                continue
            if mapped is not None:
                bus.unmap(mapped)
                del self._mapped[index]
            if wanted is None:
                self._refused.pop(index, None)
                continue
            try:
                bus.map(wanted, bar.size_bytes, bar.device)
            except ValueError:
                if self._refused.get(index) != wanted:
                    self._refused[index] = wanted
                    self.counters["bar_refused"] += 1
            else:
                self._mapped[index] = wanted
                self._refused.pop(index, None)

    def _decoded_address(self, index: int) -> int | None:
        """The address to answer at; address zero is a BAR that was never assigned."""
        enable = cs.COMMAND_IO if self.bars[index].is_io else cs.COMMAND_MEMORY
        if not self.config.get(cs.COMMAND, 2) & enable:
            return None
        return self.bar_address(index) or None

    # Interrupt.

    @property
    def intx_is_pending(self) -> bool:
        """The function asks for its INTx interrupt. A function with a pin overrides this."""
        return False

    def update_intx(self) -> None:
        """Bring the wire and the status bit in line with `intx_is_pending`."""
        pending = self.intx_is_pending
        status = self.config.get(cs.STATUS, 2) & ~cs.STATUS_INTERRUPT
        self.config.set(cs.STATUS, 2, status | cs.STATUS_INTERRUPT * pending)
        self.intx.set(pending and not self.config.get(cs.COMMAND, 2) & cs.COMMAND_INTX_DISABLE)

    # State.

    def save(self) -> Record:
        return {"config": bytes(self.config.data)}

    def restore(self, record: Record) -> None:
        config = record["config"]
        assert isinstance(config, bytes) and len(config) == cs.SIZE_BYTES
        self.config.data[:] = config
        self.decode()
        self.update_intx()

    def reset(self) -> None:
        """RST#: nothing is decoded until firmware or the guest assigns addresses again."""
        self.config.data[:] = self._power_on
        self.decode()
        self.update_intx()

    def metrics(self) -> dict[str, int]:
        return dict(self.counters)
