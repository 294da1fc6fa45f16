"""What the engines do between instructions: events by priority, single steps, the clock, and
where faults and exits from the middle of an instruction land. SDM vol. 3, 6.9.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.exits import (
    EXIT_DEBUG,
    EXIT_EOI,
    EXIT_HLT,
    EXIT_INTERRUPTED,
    EXIT_IRQ_WINDOW,
    EXIT_NONE,
    EXIT_SHUTDOWN,
)
from cython.cimports.ringfence.core.x86.blocks import enter_block, step_block
from cython.cimports.ringfence.core.x86.cpuid import is_amd
from cython.cimports.ringfence.core.x86.debug import check_code_breakpoints, note_single_step
from cython.cimports.ringfence.core.x86.escape import LAND_EXIT
from cython.cimports.ringfence.core.x86.interrupts import (
    deliver_fault,
    deliver_interrupt,
    deliver_nmi,
    deliver_trap_db,
    nested_fault,
)
from cython.cimports.ringfence.core.x86.lapic import lapic_deadline_ns, lapic_pending, lapic_run_timer
from cython.cimports.ringfence.core.x86.lapic_delivery import lapic_acknowledge
from cython.cimports.ringfence.core.x86.operands import run_bytes, wrap_rip
from cython.cimports.ringfence.core.x86.physical import commit_accesses
from cython.cimports.ringfence.core.x86.state import (
    ACTIVE,
    BLOCK_RIP,
    HALTED,
    IF_FLAG,
    INSTR_BYTES,
    RF,
    SHUTDOWN,
    TF,
    CpuP,
)
from cython.cimports.ringfence.core.x86.time import guest_ns


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def settle(cpu: CpuP) -> cython.void:
    """Account for a block that was left from the middle; RIP is the instruction not done."""
    if cpu.first != cython.NULL:
        cpu.a.rip = wrap_rip(cpu, cpu.a.regs[BLOCK_RIP] + cpu.current.offset)
        cpu.budget -= run_bytes(cpu.first, cpu.current)
        cpu.first = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refill(cpu: CpuP) -> cython.int:
    """A budget is used up: count it, and see what time it is."""
    now: uint64_t = guest_ns(cpu)
    deadline: uint64_t = lapic_deadline_ns(cython.address(cpu.a.lapic))
    cpu.count.instructions += (cpu.budget_size - cpu.budget) / INSTR_BYTES
    cpu.budget = cpu.budget_size
    if deadline and now >= deadline:
        lapic_run_timer(cython.address(cpu.a.lapic), now)
    if cpu.deadline_ns and now >= cpu.deadline_ns:
        return EXIT_INTERRUPTED
    return EXIT_NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def attend(cpu: CpuP) -> cython.int:
    """Between two instructions: events by priority (SDM vol. 3, 6.9). An exit reason, or none."""
    reason: cython.int
    vector: cython.int
    cpu.attention = cpu.single
    if cpu.exit.reason != EXIT_NONE:
        return cpu.exit.reason
    if cpu.kicked:
        cpu.kicked = 0
        return EXIT_INTERRUPTED
    if cpu.budget < 0 or cpu.a.activity == HALTED:
        # a halted processor uses up no budget, but its timer may have fired
        reason = refill(cpu)
        if reason:
            return reason
    if cpu.a.lapic.eoi_vector >= 0:
        cpu.exit.data = cpu.a.lapic.eoi_vector
        cpu.a.lapic.eoi_vector = -1
        return EXIT_EOI
    if cpu.a.pending_db and not cpu.a.inhibit_db:
        wake(cpu)
        deliver_trap_db(cpu)
    if cpu.a.inhibit_irq:
        return EXIT_NONE
    if (cpu.a.nmi_pending or cpu.a.lapic.nmi_pending) and not cpu.a.nmi_blocked:
        cpu.a.nmi_pending = 0
        cpu.a.lapic.nmi_pending = 0
        wake(cpu)
        deliver_nmi(cpu)
        return EXIT_NONE
    if cpu.a.rflags & IF_FLAG:
        if cpu.inject_vector >= 0:
            vector = cpu.inject_vector
            cpu.inject_vector = -1
        else:
            vector = lapic_pending(cython.address(cpu.a.lapic))
            if vector >= 0:
                vector = lapic_acknowledge(cython.address(cpu.a.lapic))
        if vector >= 0:
            wake(cpu)
            cpu.count.interrupts[vector & 0xFF] += 1
            deliver_interrupt(cpu, vector)
            return EXIT_NONE
        if cpu.window_requested:
            cpu.window_requested = 0
            return EXIT_IRQ_WINDOW
    return EXIT_NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def wake(cpu: CpuP) -> cython.void:
    if cpu.a.activity == HALTED:
        cpu.a.activity = ACTIVE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_event(cpu: CpuP) -> cython.bint:
    """Whether attend() has something to deliver: asked at every return to the loop, so cheap."""
    return (
        cpu.attention != 0
        or cpu.budget < 0
        or (
            cpu.a.rflags & IF_FLAG != 0
            and (lapic_pending(cython.address(cpu.a.lapic)) >= 0 or cpu.inject_vector >= 0)
        )
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def step(cpu: CpuP) -> cython.int:
    """One instruction: under TF, breakpoints, an interrupt shadow, or while its exits are replayed.
    An exit reason, or none."""
    trap: cython.bint = (cpu.a.rflags & TF) != 0
    resumed: cython.bint = (cpu.a.rflags & RF) != 0
    shadowed: cython.bint = cpu.a.inhibit_irq != 0
    # a load of SS holds back the next instruction's breakpoint on Intel's processors only
    if cpu.has_breakpoints and not resumed and not cpu.replay_count and (not cpu.a.inhibit_db or is_amd(cpu)):
        check_code_breakpoints(cpu)
    cpu.is_repeating = 0
    cpu.attention = 1
    cpu.shadow_seen = shadowed
    cpu.a.inhibit_irq = 0
    cpu.a.inhibit_db = 0
    enter_block(cpu, step_block(cpu))
    if cpu.first != cython.NULL:
        cpu.budget -= INSTR_BYTES
        cpu.first = cython.NULL
    commit_accesses(cpu)
    if resumed and not cpu.is_repeating:
        # RF holds breakpoints back for one instruction; an IRET that sets it means the next one
        cpu.a.rflags &= ~cython.cast(uint64_t, RF)
    if trap:
        note_single_step(cpu)
    if cpu.debug_steps and cpu.replay_count == 0:
        cpu.debug_steps -= 1
        if cpu.debug_steps == 0:
            return EXIT_DEBUG
    return EXIT_NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def between(cpu: CpuP) -> cython.int:
    """Before the next instruction: account for the last ones, then events. An exit reason, or none."""
    reason: cython.int
    if cpu.first != cython.NULL:
        cpu.budget -= run_bytes(cpu.first, cpu.current) + INSTR_BYTES
        cpu.first = cython.NULL
    cpu.current = cython.NULL
    if cpu.replay_count == 0:
        if has_event(cpu):
            reason = attend(cpu)
            if reason != EXIT_NONE:
                return reason
        if cpu.a.activity == HALTED:
            return EXIT_HLT
        if cpu.a.activity == SHUTDOWN:
            return EXIT_SHUTDOWN
    return EXIT_NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def begin(cpu: CpuP, budget: cython.int) -> cython.void:
    """Take up the VMM's answer to the last exit."""
    cpu.exit.reason = EXIT_NONE
    if cpu.replay_count and not cpu.replay[cpu.replay_count - 1].is_done:
        cpu.replay[cpu.replay_count - 1].data = cpu.exit.data
        cpu.replay[cpu.replay_count - 1].is_done = 1
    cpu.replay_next = 0
    cpu.attention = 1
    if cpu.budget_size != budget:
        # another engine ran before
        cpu.count.instructions += (cpu.budget_size - cpu.budget) / INSTR_BYTES
        cpu.budget = cpu.budget_size = budget


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def land(cpu: CpuP, landing: cython.int) -> cython.int:
    """After a long jump: deliver the fault, or hand the exit on. An exit reason, or none."""
    settle(cpu)
    if landing == LAND_EXIT:
        # an event whose frame lies outside RAM: what raised it is run again
        cpu.is_delivering = 0
        if cpu.shadow_seen and cpu.replay_count:
            # the instruction is run again: so is its shadow
            cpu.a.inhibit_irq = 1
        return cpu.exit.reason
    commit_accesses(cpu)
    cpu.shadow_seen = 0
    cpu.count.exceptions[cpu.fault_vector & 31] += 1
    if cpu.is_delivering:
        if nested_fault(cpu) < 0:
            cpu.is_delivering = 0
            cpu.a.activity = SHUTDOWN
            return EXIT_SHUTDOWN
    else:
        deliver_fault(cpu)
    return EXIT_NONE
