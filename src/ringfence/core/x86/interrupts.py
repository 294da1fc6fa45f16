"""Event delivery: interrupts and exceptions through the IVT and the IDT. SDM vol. 3, chapter 6.

`deliver` does everything that can fault (gate, code segment, stack frame) before it commits. A
fault on the way leaves through the run loop, which calls `nested_fault`: it decides by the table
of classes (SDM 6.15, table 6-5) between the second exception, #DF and shutdown.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load_system
from cython.cimports.ringfence.core.x86.debug import DR7_GD
from cython.cimports.ringfence.core.x86.descriptor import is_long
from cython.cimports.ringfence.core.x86.flags import get_rflags
from cython.cimports.ringfence.core.x86.idt import deliver_long, deliver_protected
from cython.cimports.ringfence.core.x86.interrupts import (
    CLASS_BENIGN,
    CLASS_CONTRIBUTORY,
    CLASS_DOUBLE_FAULT,
    CLASS_PAGE_FAULT,
    EVENT_FAULT,
    EVENT_INTERRUPT,
    EVENT_SOFTWARE,
    EVENT_TRAP,
)
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.segments import (
    DELIVERING,
    DELIVERING_EXTERNAL,
    commit_real,
    raise_selector,
)
from cython.cimports.ringfence.core.x86.stack import Stack, open_current, push_on
from cython.cimports.ringfence.core.x86.state import (
    AC,
    CR0_PE,
    CS,
    DB,
    DE,
    DF_VECTOR,
    GP,
    IF_FLAG,
    NMI,
    NP,
    PF_VECTOR,
    RF,
    RSP,
    SS_VECTOR,
    TF,
    TS,
    CpuP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def class_of(vector: cython.int) -> uint32_t:
    if vector == DF_VECTOR:
        return CLASS_DOUBLE_FAULT
    if vector == PF_VECTOR:
        return CLASS_PAGE_FAULT
    if vector == DE or vector == TS or vector == NP or vector == SS_VECTOR or vector == GP:
        return CLASS_CONTRIBUTORY
    return CLASS_BENIGN


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver(
    cpu: CpuP, vector: cython.int, kind: cython.int, has_error: cython.bint, error: uint32_t, rip: uint64_t
) -> cython.void:
    flags: uint64_t = get_rflags(cpu)
    if kind == EVENT_FAULT and vector != DB:
        flags |= RF
    if cpu.first != cython.NULL and flags & TF:
        cpu.step_is_quiet = 1
    cpu.is_delivering = DELIVERING if kind == EVENT_SOFTWARE else DELIVERING | DELIVERING_EXTERNAL
    cpu.delivering_vector = vector
    cpu.delivering_class = class_of(vector) if kind == EVENT_FAULT else CLASS_BENIGN
    if not cpu.a.cr0 & CR0_PE:
        deliver_real(cpu, vector, flags, rip)
    elif is_long(cpu):
        deliver_long(cpu, vector, kind == EVENT_SOFTWARE, has_error, error, flags, rip)
    else:
        deliver_protected(cpu, vector, kind == EVENT_SOFTWARE, has_error, error, flags, rip)
    cpu.is_delivering = 0
    cpu.a.inhibit_irq = 0
    cpu.a.inhibit_db = 0
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_real(cpu: CpuP, vector: cython.int, flags: uint64_t, rip: uint64_t) -> cython.void:
    s: Stack
    entry: uint32_t
    if vector * 4 + 3 > cpu.a.idtr.limit:
        raise_selector(cpu, GP, 0)
    entry = cython.cast(uint32_t, load_system(cpu, cpu.a.idtr.base + vector * 4, 4))
    open_current(cpu, cython.address(s))
    push_on(cpu, cython.address(s), flags, 2)
    push_on(cpu, cython.address(s), cpu.a.seg[CS].selector, 2)
    push_on(cpu, cython.address(s), rip, 2)
    if (entry & 0xFFFF) > cpu.a.seg[CS].limit:
        raise_selector(cpu, GP, 0)
    cpu.a.regs[RSP] = s.sp
    commit_real(cpu, CS, entry >> 16)
    cpu.a.rip = entry & 0xFFFF
    cpu.a.rflags &= ~cython.cast(uint64_t, IF_FLAG | TF | AC | RF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_fault(cpu: CpuP) -> cython.void:
    vector: cython.int = cpu.fault_vector
    cpu.a.pending_db = 0
    cpu.a.pending_dr6 = 0
    if vector == DB:
        cpu.a.dr[7] &= ~cython.cast(uint64_t, DR7_GD)
    deliver(cpu, vector, EVENT_FAULT, cpu.fault_has_error, cpu.fault_error, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def nested_fault(cpu: CpuP) -> cython.int:
    first: uint32_t = cpu.delivering_class
    second: uint32_t = class_of(cpu.fault_vector)
    if second == CLASS_BENIGN or first == CLASS_BENIGN:
        deliver_fault(cpu)
        return 0
    if first == CLASS_DOUBLE_FAULT:
        return -1
    if first == CLASS_CONTRIBUTORY and second == CLASS_PAGE_FAULT:
        deliver_fault(cpu)
        return 0
    cpu.count.exceptions[DF_VECTOR] += 1
    deliver(cpu, DF_VECTOR, EVENT_FAULT, True, 0, cpu.a.rip)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_interrupt(cpu: CpuP, vector: cython.int) -> cython.void:
    deliver(cpu, vector, EVENT_INTERRUPT, False, 0, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_nmi(cpu: CpuP) -> cython.void:
    """Further NMIs wait until IRET, even when this one's delivery faults."""
    cpu.count.interrupts[NMI] += 1
    cpu.a.nmi_blocked = 1
    deliver(cpu, NMI, EVENT_INTERRUPT, False, 0, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_trap_db(cpu: CpuP) -> cython.void:
    """#DB after an instruction: single step, data breakpoint, task switch."""
    cpu.a.dr[6] |= cpu.a.pending_dr6
    cpu.a.pending_dr6 = 0
    cpu.a.pending_db = 0
    cpu.a.dr[7] &= ~cython.cast(uint64_t, DR7_GD)
    cpu.count.exceptions[DB] += 1
    deliver(cpu, DB, EVENT_TRAP, False, 0, cpu.a.rip)
