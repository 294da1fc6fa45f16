"""Our vCPU in every mode with 16- or 32-bit code, as functions from case to outcome.

The modes differ in segments and in how a fault is delivered; what an instruction does is the same.
"""

from __future__ import annotations

import struct

from case import GENERAL, GP, NONE, RSP, Case, Outcome
from legacy import CODE, SEGMENTS, TF, Layout
from rig import CODE3, DB, HANDLERS, HLT, PRESENT_CODE, PRESENT_DATA, G, Rig
from x86_table import Row

from ringfence.core.exits import Reason

HAS_ERROR_CODE = (8, 10, 11, 12, 13, 14, 17)
HANDLER_BYTES = 16
REPEAT_LIMIT = 100
DPL_3 = 0x60
IOPL_3, VM = 0x3000, 0x20000


class RealMode:
    """Real mode: every row of the judge. The other modes change what is theirs."""

    rig_mode = "real"
    slot_bytes = 2
    attr = PRESENT_DATA
    #: bits of RFLAGS that the mode needs set
    flags = 2
    #: every flag of the low 16 but TF, which would end each case in a trap
    flags_compared = 0x7FD5 & ~TF
    engine = "interpret"

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rig = Rig(self.rig_mode, engine=self.engine)
        self.cpu = self.rig.cpu
        self.enter()
        for name, selector in layout.segments.items():
            self.cpu.set_segment(name, selector, selector << 4, 0xFFFF, self.attr)
        self.start = self.cpu.save()
        self.data = self.rig.memory.view(layout.data, layout.data_bytes)

    def enter(self) -> None:
        """Put the processor in the mode."""

    def takes(self, row: Row) -> bool:
        """Whether the row does the same here as with the judge."""
        return True

    def run(self, case: Case, is_repeated: bool) -> Outcome:
        cpu, regs, layout = self.cpu, self.cpu.regs, self.layout
        cpu.restore(self.start)
        self.loaded = case.code
        self.rig.memory.write(CODE, case.code.ljust(16, b"\x90"))
        self.data[:] = (bytes(case.window_at) + case.window).ljust(layout.data_bytes, b"\0")
        for name, value in zip(GENERAL[:8], case.regs, strict=False):
            setattr(regs, name, value)
        regs.rip = CODE
        regs.rflags = case.rflags | self.flags
        self.go(is_repeated)
        values = [getattr(regs, name) for name in GENERAL[:8]]
        values += [cpu.segment(name)[0] if layout.segments else 0 for name in SEGMENTS] + [0, 0]
        # at the handler's HLT, or past it when the step was the delivery of a fault
        vector, past = divmod(regs.rip - HANDLERS, HANDLER_BYTES)
        data = bytes(self.data)
        if not 0 <= vector < 32 or past > 1:
            return Outcome(NONE, 0, 0, regs.rip, values, regs.rflags, case.fx, data)
        return self.faulted(vector, values, data, case)

    def go(self, is_repeated: bool) -> None:
        """Run one instruction, or all turns of it."""
        for _ in range(REPEAT_LIMIT):
            self.cpu.set_debug_steps(1)
            self.cpu.run()
            if not is_repeated or self.cpu.regs.rip != CODE:
                break

    def faulted(self, vector: int, values: list[int], data: bytes, case: Case) -> Outcome:
        """The state at the fault: what was pushed on the case's stack is taken off again."""
        size = self.slot_bytes
        pushed = 3 + (vector in HAS_ERROR_CODE and size == 4)
        mask = 0xFFFF if self.layout.segments else 0xFFFF_FFFF
        base = self.layout.base("ss")
        frame = self.rig.memory.read(base + (values[RSP] & mask), pushed * size)
        before = (bytes(case.window_at) + case.window).ljust(len(data), b"\0")
        start = base + (values[RSP] & mask) - self.layout.data
        data = data[:start] + before[start : start + len(frame)] + data[start + len(frame) :]
        at, cs, rflags = struct.unpack("<3H" if size == 2 else "<3I", frame[-3 * size :])
        self.set_selectors(values, cs=cs)
        values[RSP] = values[RSP] & ~mask | (values[RSP] + pushed * size) & mask
        return Outcome(vector, 0, 0, at, values, rflags, case.fx, data)

    def set_selectors(self, values: list[int], **selectors: int) -> None:
        """Put what a frame says of segments in the slots of an outcome that compares them."""
        if self.layout.segments:
            for name, selector in selectors.items():
                values[8 + SEGMENTS.index(name)] = selector

    def inner_frame(self, vector: int, slots: int) -> tuple[int, ...]:
        """The frame on the stack of ring 0, from the instruction pointer on."""
        found = self.rig.stack(slots + (vector in HAS_ERROR_CODE))
        return tuple(found[-slots:])


class Protected(RealMode):
    """Protected mode in ring 0: flat, or with 16-bit segments where the layout has bases."""

    rig_mode = "protected"
    slot_bytes = 4

    def enter(self) -> None:
        if self.layout.segments:
            # the selector is real mode's, so that it can be compared; what it names is never looked at
            self.cpu.set_segment("cs", 0, 0, 0xFFFF, PRESENT_CODE)

    def takes(self, row: Row) -> bool:
        """Segment registers take descriptors here, and VEX is there, unlike in real mode."""
        return not self.layout.segments or (row.klass == "innocuous" and not row.vex)


class Virtual8086(RealMode):
    """Virtual-8086 mode with IOPL 3."""

    rig_mode = "protected"
    attr = PRESENT_DATA | DPL_3
    flags = VM | IOPL_3 | 2
    flags_compared = RealMode.flags_compared & ~IOPL_3

    def enter(self) -> None:
        self.rig.enter_v86(3)

    def takes(self, row: Row) -> bool:
        """POPF and IRET keep IOPL and VM; INTO needs a gate for ring 3."""
        return row.mnemonic not in ("pushf", "popf", "iret", "into")

    def faulted(self, vector: int, values: list[int], data: bytes, case: Case) -> Outcome:
        at, cs, rflags, esp, ss, es, ds, fs, gs = self.inner_frame(vector, 9)
        values[RSP] = esp
        self.set_selectors(values, cs=cs, ss=ss, ds=ds, es=es, fs=fs, gs=gs)
        return Outcome(vector, 0, 0, at, values, rflags, case.fx, data)


class Compatibility(Protected):
    """Compatibility mode of long mode, ring 3."""

    rig_mode = "long"
    attr = PRESENT_DATA | DPL_3

    def enter(self) -> None:
        self.rig.set_ring(3)
        if self.layout.segments:
            self.cpu.set_segment("cs", 0, 0, 0xFFFF, PRESENT_CODE | DPL_3)
        else:
            self.cpu.set_segment("cs", CODE3, 0, 0xFFFF_FFFF, PRESENT_CODE | DPL_3 | DB | G)

    def takes(self, row: Row) -> bool:
        return row.klass == "innocuous" and super().takes(row)

    def faulted(self, vector: int, values: list[int], data: bytes, case: Case) -> Outcome:
        at, cs, rflags, values[RSP], ss = self.inner_frame(vector, 5)
        self.set_selectors(values, cs=cs, ss=ss)
        return Outcome(vector, 0, 0, at, values, rflags, case.fx, data)


class Translated(Protected):
    """The translator, which runs whole blocks: to the HLT behind the instruction, or to where it branches."""

    engine = "translate"

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.cpu.tune_translator(1, True, 0)
        self.cpu.set_deadline_ns(1)

    def go(self, is_repeated: bool) -> None:
        end = CODE + len(self.loaded)
        self.rig.memory.write(end, HLT)
        while self.cpu.run() == Reason.INTERRUPTED and is_repeated and self.cpu.regs.rip == CODE:
            pass  # between two turns, with a deadline that has long been
        if self.cpu.regs.rip == end + 1:
            self.cpu.regs.rip = end


class TranslatedCompatibility(Translated, Compatibility):
    """The same in ring 3, where HLT is a fault."""

    def faulted(self, vector: int, values: list[int], data: bytes, case: Case) -> Outcome:
        found = super().faulted(vector, values, data, case)
        if vector == GP and found.rip == CODE + len(case.code):
            found.vector = NONE
        return found


#: by the judge's mode; the translator leaves 16-bit code to the interpreter
GUESTS = {
    16: (RealMode, Virtual8086, Protected, Compatibility),
    32: (Protected, Compatibility, Translated, TranslatedCompatibility),
}
