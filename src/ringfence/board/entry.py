"""How a processor starts: the registers that a boot protocol promises.

A loader returns an `Entry`; what it does not name stays as the processor's reset left it. Segment attributes
are the bits of a descriptor from its type on (Intel SDM vol. 3, 3.4.5)::

    15 14  13 12  | 7 6..5 4 3..0
    G  D/B L  AVL | P DPL  S type
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

SEGMENT_16 = 0x0000
SEGMENT_32 = 0xC000  # G, D/B
SEGMENT_64 = 0xA000  # G, L
PRESENT = 0x80
CODE = PRESENT | 0x10 | 0xB  # code, readable, accessed
DATA = PRESENT | 0x10 | 0x3  # data, writable, accessed
TSS_BUSY_32 = PRESENT | 0xB

CR0_PE = 1 << 0
CR0_ET = 1 << 4
CR0_PG = 1 << 31
CR4_PAE = 1 << 5
EFER_LME = 1 << 8
EFER_LMA = 1 << 10
RFLAGS_FIXED = 1 << 1

DATA_SEGMENTS = ("ds", "es", "fs", "gs", "ss")


class Segment(NamedTuple):
    selector: int
    base: int
    limit: int
    attributes: int

    @property
    def descriptor(self) -> int:
        """As the eight bytes of a descriptor table."""
        limit = self.limit >> 12 if self.attributes & 0x8000 else self.limit
        return (
            (self.base >> 24 & 0xFF) << 56
            | (self.attributes & 0xF000 | limit >> 8 & 0x0F00) << 40
            | (self.attributes & 0xFF) << 40
            | (self.base & 0xFF_FFFF) << 16
            | limit & 0xFFFF
        )


class TableRegister(NamedTuple):
    """GDTR or IDTR."""

    base: int
    limit: int


class Vcpu(Protocol):
    """Of a virtual processor, what starting it needs."""

    @property
    def regs(self) -> Any: ...

    gdtr: Any
    idtr: Any

    def set_segment(self, name: str, selector: int, base: int, limit: int, attr: int) -> None: ...


@dataclass(frozen=True)
class Entry:
    """A processor's registers at the first instruction of a guest."""

    registers: Mapping[str, int]
    segments: Mapping[str, Segment] = field(default_factory=dict)
    gdtr: TableRegister | None = None
    idtr: TableRegister | None = None

    def apply(self, vcpu: Vcpu) -> None:
        """Set the registers of a processor that has just been reset."""
        for name, segment in self.segments.items():
            vcpu.set_segment(name, *segment)
        if self.gdtr is not None:
            vcpu.gdtr = tuple(self.gdtr)
        if self.idtr is not None:
            vcpu.idtr = tuple(self.idtr)
        for name, value in self.registers.items():
            setattr(vcpu.regs, name, value)


def flat_segments(code_selector: int, data_selector: int, width: int = SEGMENT_32) -> dict[str, Segment]:
    """Code and data that span 4 GiB from 0; only the code segment is 64-bit."""
    code = Segment(code_selector, 0, 0xFFFF_FFFF, CODE | width)
    data = Segment(data_selector, 0, 0xFFFF_FFFF, DATA | SEGMENT_32)
    return {"cs": code, **dict.fromkeys(DATA_SEGMENTS, data)}


def protected_mode(eip: int, segments: Mapping[str, Segment], **registers: int) -> Entry:
    """32-bit protected mode, no paging, interrupts off; the state of multiboot and PVH."""
    return Entry(
        {"cr0": CR0_ET | CR0_PE, "rflags": RFLAGS_FIXED, "rip": eip, **registers},
        # A task register is no part of the protocols, but some engines can't enter the guest without.
        {**segments, "tr": Segment(0, 0, 0x67, TSS_BUSY_32)},
        idtr=TableRegister(0, 0),
    )
