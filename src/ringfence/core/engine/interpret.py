"""The interpreter: run decoded blocks until something must be decided outside.

`run(cpu)` returns an `ExitReason` with `cpu.exit` filled, like every engine. Inside a block an
instruction's handler calls the next one's; a taken branch enters the next block by itself
(`dispatch`). Control comes back here for events, single steps, code not decoded yet, and at the
end of a budget of instructions, when the clock is looked at.

Faults and exits from the middle of an instruction land at the one setjmp in `run`.
"""

import cython
from cython.cimports.ringfence.core.engine.events import begin, between, land, step
from cython.cimports.ringfence.core.engine.interpret import BUDGET
from cython.cimports.ringfence.core.exits import EXIT_NONE
from cython.cimports.ringfence.core.x86.blocks import enter_block, lookup_block, note_jump
from cython.cimports.ringfence.core.x86.escape import _setjmp
from cython.cimports.ringfence.core.x86.state import BlockP, CpuP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def loop(cpu: CpuP) -> cython.int:
    reason: cython.int
    block: BlockP
    while True:
        reason = between(cpu)
        if reason != EXIT_NONE:
            return reason
        if cpu.single or cpu.a.inhibit_irq or cpu.replay_count or cpu.debug_steps:
            reason = step(cpu)
            if reason != EXIT_NONE:
                return reason
        else:
            block = lookup_block(cpu)
            note_jump(cpu, block.first)
            enter_block(cpu, block)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run(cpu: CpuP) -> cython.int:
    landing: cython.int
    reason: cython.int
    begin(cpu, BUDGET)
    landing = _setjmp(cpu.escape)
    if landing:
        reason = land(cpu, landing)
        if reason != EXIT_NONE:
            cpu.exit.reason = reason
            return reason
    reason = loop(cpu)
    cpu.exit.reason = reason
    return reason
