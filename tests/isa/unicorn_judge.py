"""Judge 2: the PyPI package unicorn, for 16- and 32-bit code."""

from __future__ import annotations

import unicorn
from case import GENERAL, NONE, UD, Case, Outcome
from legacy import CODE, SEGMENTS, Layout
from unicorn import x86_const

RAM_BYTES = 1 << 21  # real mode reaches 64 KiB beyond the first MiB
HLT = b"\xf4"
REGISTERS = [getattr(x86_const, f"UC_X86_REG_E{name[1:].upper()}") for name in GENERAL[:8]]
SEGMENT_REGISTERS = [getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in SEGMENTS]
#: vector of an exception that unicorn reports as an error of its own
ERRORS = {unicorn.UC_ERR_INSN_INVALID: UD}
STEP_LIMIT_US = 2_000_000


class UnicornJudge:
    """Unicorn as a function from case to outcome, in one mode."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        mode = unicorn.UC_MODE_16 if layout.bits == 16 else unicorn.UC_MODE_32
        self.uc = uc = unicorn.Uc(unicorn.UC_ARCH_X86, mode)
        uc.ctl_set_cpu_model(x86_const.UC_CPU_X86_ICELAKE_SERVER)
        uc.mem_map(0, RAM_BYTES)
        for name, selector in layout.segments.items():
            uc.reg_write(getattr(x86_const, f"UC_X86_REG_{name.upper()}"), selector)
        self.vector = NONE
        uc.hook_add(unicorn.UC_HOOK_INTR, self._interrupted)
        self.start = uc.context_save()

    def _interrupted(self, uc: unicorn.Uc, vector: int, _: object) -> None:
        self.vector = vector
        uc.emu_stop()

    def run(self, case: Case, is_repeated: bool) -> Outcome:
        """`is_repeated`: run to the HLT behind it; a turn of REP counts as an instruction for unicorn."""
        uc, layout = self.uc, self.layout
        uc.context_restore(self.start)
        data = bytes(case.window_at) + case.window
        uc.mem_write(layout.data, data.ljust(layout.data_bytes, b"\0"))
        uc.ctl_remove_cache(CODE, CODE + 16)
        uc.mem_write(CODE, case.code + HLT)
        for register, value in zip(REGISTERS, case.regs, strict=False):
            uc.reg_write(register, value)
        uc.reg_write(x86_const.UC_X86_REG_EFLAGS, case.rflags | 2)
        self.vector = NONE
        try:
            uc.emu_start(CODE, CODE + len(case.code), STEP_LIMIT_US, 0 if is_repeated else 1)
        except unicorn.UcError as error:
            if error.errno not in ERRORS:
                raise
            self.vector = ERRORS[error.errno]
        regs = [uc.reg_read(register) for register in REGISTERS]
        regs += [uc.reg_read(register) if layout.segments else 0 for register in SEGMENT_REGISTERS] + [0, 0]
        rip = uc.reg_read(x86_const.UC_X86_REG_EIP)
        rflags = uc.reg_read(x86_const.UC_X86_REG_EFLAGS)
        return Outcome(
            self.vector, 0, 0, rip, regs, rflags, case.fx, bytes(uc.mem_read(layout.data, layout.data_bytes))
        )
