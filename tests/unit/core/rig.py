"""A bare processor with tables, for tests of system instructions: no board, no firmware.

Every exception handler is one HLT at ``HANDLERS + 16 * vector``, so where the processor halts says
which vector was delivered, and the stack holds its frame.
"""

from __future__ import annotations

import struct

from ringfence.core.exits import Reason
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.core.x86.vcpu import Vcpu

MEMORY_BYTES = 4 << 20
GDT, IDT, TSS, LDT = 0x1000, 0x2000, 0x3000, 0x4000
CODE, HANDLERS = 0x8000, 0x9000
STACK0, STACK3, IST1 = 0x20000, 0x30000, 0x28000
TABLES = 0x40000

# Selectors of the rig's GDT
CODE0, DATA0, CODE3, DATA3, TSS_SEL, LDT_SEL, CODE0_16, FREE = 0x08, 0x10, 0x1B, 0x23, 0x28, 0x38, 0x48, 0x50
PRESENT_CODE, PRESENT_DATA = 0x9B, 0x93
G, DB, L = 0x8000, 0x4000, 0x2000
HLT = b"\xf4"


def descriptor(base: int, limit: int, attr: int) -> bytes:
    """Eight bytes; ``attr`` as in `Vcpu.segment`, the limit in units of its granularity."""
    return struct.pack(
        "<HHBBBB", limit & 0xFFFF, base & 0xFFFF, base >> 16 & 0xFF, attr & 0xFF,
        (attr >> 8 & 0xF0) | (limit >> 16 & 0xF), base >> 24 & 0xFF,
    )  # fmt: skip


def gate(selector: int, offset: int, attr: int, count: int = 0) -> bytes:
    """A call, interrupt, trap or task gate of 16 or 32 bits; ``attr`` is its type, DPL and P."""
    return struct.pack("<HHBBH", offset & 0xFFFF, selector, count, attr, offset >> 16 & 0xFFFF)


def gate64(selector: int, offset: int, attr: int, ist: int = 0) -> bytes:
    return gate(selector, offset, attr, ist) + struct.pack("<II", offset >> 32, 0)


class Rig:
    """A processor and its memory. ``mode`` is ``real``, ``protected`` or ``long``."""

    #: for those that name none
    engine = "interpret"

    def __init__(self, mode: str, model: str = "max", engine: str = "") -> None:
        self.mode = mode
        self.memory = GuestMemory()
        self.memory.add_ram(0, MEMORY_BYTES)
        self.cpu = Vcpu(0, self.memory, model, engine or self.engine)
        if self.cpu.engine == "translate":
            self.cpu.tune_translator(1, has_exact_flags=True)
        self.regs = self.cpu.regs
        for vector in range(256):
            self.memory.write(HANDLERS + 16 * vector, HLT)
        getattr(self, f"_enter_{mode}")()

    def _enter_real(self) -> None:
        for name in ("cs", "ds", "es", "ss", "fs", "gs"):
            self.cpu.set_segment(name, 0, 0, 0xFFFF, PRESENT_CODE if name == "cs" else PRESENT_DATA)
        for vector in range(256):
            self.memory.write(vector * 4, struct.pack("<HH", HANDLERS + 16 * vector, 0))
        self.cpu.idtr = (0, 0x3FF)
        self.regs.rsp = 0x7000

    def _tables(self, wide: int) -> None:
        code = L if wide == 8 else DB
        self.set_gdt(CODE0, descriptor(0, 0xFFFFF, PRESENT_CODE | G | code))
        self.set_gdt(DATA0, descriptor(0, 0xFFFFF, PRESENT_DATA | G | DB))
        self.set_gdt(CODE3, descriptor(0, 0xFFFFF, PRESENT_CODE | 0x60 | G | code))
        self.set_gdt(DATA3, descriptor(0, 0xFFFFF, PRESENT_DATA | 0x60 | G | DB))
        self.set_gdt(TSS_SEL, descriptor(TSS, 0x2FFF, 0x8B) + bytes(8 if wide == 8 else 0))
        self.set_gdt(CODE0_16, descriptor(0, 0xFFFFF, PRESENT_CODE | G))
        self.cpu.gdtr = (GDT, 0xFF)
        for vector in range(256):
            self.set_idt(vector, 0x8E)
        self.cpu.idtr = (IDT, 256 * (16 if wide == 8 else 8) - 1)
        self.cpu.set_segment("tr", TSS_SEL, TSS, 0x2FFF, 0x8B)
        self.cpu.set_segment("ldtr", 0, 0, 0, 0x10000)

    def _enter_protected(self) -> None:
        self._tables(4)
        self.memory.write(TSS + 4, struct.pack("<II", STACK0, DATA0))
        self.memory.write(TSS + 0x66, struct.pack("<H", 0x68))
        self.regs.cr0 = 0x11
        self.set_ring(0)

    def _enter_long(self) -> None:
        self._tables(8)
        self.memory.write(TSS + 4, struct.pack("<Q", STACK0))
        self.memory.write(TSS + 36, struct.pack("<Q", IST1))
        self.memory.write(TABLES, struct.pack("<Q", TABLES + 0x1000 | 7))
        self.memory.write(TABLES + 0x1000, struct.pack("<Q", TABLES + 0x2000 | 7))
        self.memory.write(TABLES + 0x2000, struct.pack("<Q", TABLES + 0x3000 | 7))
        self.memory.write(TABLES + 0x3000, struct.pack("<512Q", *(page << 12 | 7 for page in range(512))))
        self.regs.cr4 = 0x20
        self.regs.cr3 = TABLES
        self.regs.efer = 0x501
        self.regs.cr0 = 0x80010011
        self.set_ring(0)

    def set_gdt(self, selector: int, content: bytes) -> None:
        self.memory.write(GDT + (selector & ~7), content)

    def set_idt(
        self, vector: int, attr: int, selector: int = CODE0, offset: int | None = None, ist: int = 0
    ) -> None:
        target = HANDLERS + 16 * vector if offset is None else offset
        if self.mode == "long":
            self.memory.write(IDT + 16 * vector, gate64(selector, target, attr, ist))
        else:
            self.memory.write(IDT + 8 * vector, gate(selector, target, attr))

    def set_page(self, gva: int, entry: int) -> None:
        """Long mode: the page-table entry of a page below 2 MiB."""
        self.memory.write(TABLES + 0x3000 + 8 * (gva >> 12), struct.pack("<Q", entry))
        self.regs.cr3 = self.regs.cr3

    def set_ring(self, ring: int) -> None:
        """CS, SS and the data segments of ring 0 or 3, with a stack."""
        dpl = ring << 5
        code = L if self.mode == "long" else DB
        self.cpu.set_segment("cs", CODE3 if ring else CODE0, 0, 0xFFFFFFFF, PRESENT_CODE | dpl | G | code)
        for name in ("ss", "ds", "es", "fs", "gs"):
            self.cpu.set_segment(name, DATA3 if ring else DATA0, 0, 0xFFFFFFFF, PRESENT_DATA | dpl | G | DB)
        self.regs.rsp = STACK3 if ring else STACK0

    def enter_v86(self, iopl: int = 0) -> None:
        """Virtual-8086 mode, all segments at 0."""
        self.regs.rflags = 0x20002 | iopl << 12
        for name in ("cs", "ss", "ds", "es", "fs", "gs"):
            self.cpu.set_segment(name, 0, 0, 0xFFFF, 0xF3)
        self.regs.rsp = 0x7000

    def load(self, code: bytes, at: int = CODE) -> None:
        """Put ``code`` there and make it next, even after a HLT."""
        record = self.cpu.save()
        self.cpu.restore(record[:4] + bytes(4) + record[8:])
        self.memory.write(at, code)
        self.regs.rip = at

    def run(self, code: bytes | str, at: int = CODE) -> Reason:
        """Run ``code`` (bytes or hexadecimal) to its first exit."""
        self.load(bytes.fromhex(code) if isinstance(code, str) else code, at)
        return Reason(self.cpu.run())

    def go_on(self) -> Reason:
        return Reason(self.cpu.run())

    @property
    def vector(self) -> int | None:
        """The vector whose handler halted, or None."""
        at = self.regs.rip - 1 - HANDLERS
        return at // 16 if at >= 0 and at % 16 == 0 and at < 4096 else None

    def stack(self, count: int, size: int | None = None) -> list[int]:
        """The topmost slots of the current stack."""
        size = size or {"real": 2, "protected": 4, "long": 8}[self.mode]
        base = self.cpu.segment("ss")[1] if self.mode != "long" else 0
        raw = self.memory.read(base + self.regs.rsp, count * size)
        return [int.from_bytes(raw[k * size : (k + 1) * size], "little") for k in range(count)]
