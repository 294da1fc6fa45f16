"""Our vCPU in real or flat protected mode, as a function from case to outcome."""

from __future__ import annotations

import struct

from case import GENERAL, NONE, RSP, Case, Outcome
from legacy import CODE, SEGMENTS, Layout
from rig import DATA0, HANDLERS, PRESENT_DATA, Rig

HAS_ERROR_CODE = (8, 10, 11, 12, 13, 14, 17)
HANDLER_BYTES = 16
REPEAT_LIMIT = 100


class LegacyGuest:
    """The rig of the processor's unit tests, with the data segments of a layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rig = Rig("real" if layout.bits == 16 else "protected")
        self.cpu = self.rig.cpu
        for name, selector in layout.segments.items():
            self.cpu.set_segment(name, selector, selector << 4, 0xFFFF, PRESENT_DATA)
        assert layout.segments or self.cpu.segment("ss")[0] == DATA0
        self.start = self.cpu.save()
        self.data = self.rig.memory.view(layout.data, layout.data_bytes)

    def run(self, case: Case, is_repeated: bool) -> Outcome:
        cpu, regs, layout = self.cpu, self.cpu.regs, self.layout
        cpu.restore(self.start)
        self.rig.memory.write(CODE, case.code.ljust(16, b"\x90"))
        self.data[:] = (bytes(case.window_at) + case.window).ljust(layout.data_bytes, b"\0")
        for name, value in zip(GENERAL[:8], case.regs, strict=False):
            setattr(regs, name, value)
        regs.rip = CODE
        regs.rflags = case.rflags | 2
        for _ in range(REPEAT_LIMIT):
            cpu.set_debug_steps(1)
            cpu.run()
            if not is_repeated or regs.rip != CODE:
                break
        values = [getattr(regs, name) for name in GENERAL[:8]]
        values += [cpu.segment(name)[0] if layout.segments else 0 for name in SEGMENTS] + [0, 0]
        # at the handler's HLT, or past it when the step was the delivery of a fault
        vector, past = divmod(regs.rip - HANDLERS, HANDLER_BYTES)
        data = bytes(self.data)
        if not 0 <= vector < 32 or past > 1:
            return Outcome(NONE, 0, 0, regs.rip, values, regs.rflags, case.fx, data)
        return self.faulted(vector, values, data, case)

    def faulted(self, vector: int, values: list[int], data: bytes, case: Case) -> Outcome:
        """The state at the fault: what was pushed is taken off again."""
        size = 2 if self.layout.bits == 16 else 4
        pushed = 3 + (vector in HAS_ERROR_CODE and size == 4)
        mask = 0xFFFF if size == 2 else 0xFFFF_FFFF
        base = self.layout.base("ss")
        frame = self.rig.memory.read(base + (values[RSP] & mask), pushed * size)
        before = (bytes(case.window_at) + case.window).ljust(len(data), b"\0")
        start = base + (values[RSP] & mask) - self.layout.data
        data = data[:start] + before[start : start + len(frame)] + data[start + len(frame) :]
        at, _, rflags = struct.unpack("<3H" if size == 2 else "<3I", frame[-3 * size :])
        values[RSP] = values[RSP] & ~mask | (values[RSP] + pushed * size) & mask
        return Outcome(vector, 0, 0, at, values, rflags, case.fx, data)
