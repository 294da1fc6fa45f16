"""What the vCPU loop needs of a vCPU and of a board: the interfaces their user defines.

The compiled `core.x86.vcpu.Vcpu` is one; unit tests use a scripted one. Preconditions: `run` is
called by the vCPU's own thread only; `kick` by any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ringfence.devices.bus import Bus
from ringfence.devices.clock import Clock


class Exit(Protocol):
    """Why guest execution stopped. For a read, the VMM writes the answer to ``data``."""

    address: int
    size: int
    is_write: bool
    data: int


class Registers(Protocol):
    rip: int
    rax: int
    rflags: int
    efer: int


class Lapic(Protocol):
    @property
    def accepts_extint(self) -> bool:
        """An 8259 may interrupt this processor: LINT0 is ExtINT and unmasked, or the APIC is off."""
        ...

    @property
    def deadline_ns(self) -> int:
        """Guest time at which its timer fires; 0 when it is not armed."""
        ...

    @property
    def may_nmi(self) -> bool:
        """Some local vector is unmasked and delivers an NMI."""
        ...


class Vcpu(Protocol):
    """One virtual processor, whatever engine runs it."""

    @property
    def index(self) -> int: ...

    @property
    def regs(self) -> Registers: ...

    @property
    def exit(self) -> Exit: ...

    @property
    def lapic(self) -> Lapic: ...

    @property
    def is_interruptible(self) -> bool: ...

    request_window: bool
    engine: str

    def run(self) -> int: ...

    def kick(self) -> None: ...

    def set_clock_offset_ns(self, offset_ns: int) -> None:
        """Host CLOCK_MONOTONIC less guest time, as it is until the next pause."""
        ...

    def set_deadline_ns(self, deadline_ns: int) -> None: ...

    def inject(self, vector: int) -> None: ...

    def counters(self) -> Mapping[str, Any]:
        """What happened since power-on, by name; ``interrupts`` by vector."""
        ...

    # -- for whoever looks at a dead one --

    @property
    def gdtr(self) -> tuple[int, int]: ...

    @property
    def idtr(self) -> tuple[int, int]: ...

    def segment(self, name: str) -> tuple[int, int, int, int]: ...

    def recent_blocks(self) -> list[int]:
        """RIP of the blocks executed last, the latest last."""
        ...

    def peek(self, la: int, n: int) -> bytes:
        """Memory at a linear address, as much of it as is mapped; changes nothing."""
        ...


class Pic(Protocol):
    @property
    def has_interrupt(self) -> bool: ...

    def acknowledge(self) -> int: ...


class IoApic(Protocol):
    @property
    def may_nmi(self) -> bool:
        """Some unmasked input delivers an NMI."""
        ...

    def eoi(self, vector: int) -> None: ...


class Coprocessor(Protocol):
    def assert_error(self) -> None:
        """FERR#: an x87 error is to become an interrupt."""
        ...


class Parts(Protocol):
    """Of a board, what meets an exit."""

    @property
    def vcpus(self) -> Sequence[Vcpu]: ...

    @property
    def pic(self) -> Pic: ...

    @property
    def ioapic(self) -> IoApic: ...

    @property
    def coprocessor(self) -> Coprocessor: ...

    pio: Bus
    mmio: Bus
    clock: Clock
