"""Far JMP and CALL: SDM vol. 2, JMP and CALL; vol. 3, 5.8 (privilege) and 5.8.2 (gates).

A far pointer names a code segment, a call gate, or a task. Only the first exists outside
protected mode, and only the first two in long mode.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load
from cython.cimports.ringfence.core.x86.call_gate import call_through_gate, jump_through_gate
from cython.cimports.ringfence.core.x86.descriptor import (
    LOW_32,
    TYPE_CALL_GATE16,
    TYPE_CALL_GATE32,
    TYPE_TASK_GATE,
    TYPE_TSS16,
    TYPE_TSS32,
    Descriptor,
    dpl_of,
    gate_selector,
    is_canonical,
    is_code,
    is_conforming,
    is_long,
    is_present,
    is_protected,
    is_system,
    is_v86,
    rpl_of,
    type_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.flags import get_rflags
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import ea, next_rip, wrap_rip
from cython.cimports.ringfence.core.x86.segments import (
    commit_real,
    commit_segment,
    commit_v86,
    mark_accessed,
    raise_selector,
    require_descriptor,
)
from cython.cimports.ringfence.core.x86.stack import Stack, open_current, push_on
from cython.cimports.ringfence.core.x86.state import ATTR_DB, ATTR_L, CS, GP, NP, RSP, CpuP, InstrP
from cython.cimports.ringfence.core.x86.task import FROM_CALL, FROM_JMP, switch_task, switch_through_gate


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_code_segment(
    cpu: CpuP, d: cython.pointer(cython.const[Descriptor]), cpl: cython.int, rpl: cython.int
) -> cython.void:
    dpl: cython.int = dpl_of(d.attr)
    if not is_code(d.attr):
        raise_selector(cpu, GP, d.selector)
    if is_conforming(d.attr):
        if dpl > cpl:
            raise_selector(cpu, GP, d.selector)
    elif dpl != cpl or rpl > cpl:
        raise_selector(cpu, GP, d.selector)
    if is_long(cpu) and d.attr & ATTR_L and d.attr & ATTR_DB:
        raise_selector(cpu, GP, d.selector)
    if not is_present(d.attr):
        raise_selector(cpu, NP, d.selector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_rip(cpu: CpuP, d: cython.pointer(cython.const[Descriptor]), rip: uint64_t) -> cython.void:
    if is_long(cpu) and d.attr & ATTR_L:
        if not is_canonical(rip):
            raise_gp(cpu)
    elif rip > d.limit:
        raise_gp(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit_code(
    cpu: CpuP, d: cython.pointer(cython.const[Descriptor]), cpl: cython.int, rip: uint64_t
) -> cython.void:
    commit_segment(cpu, CS, (d.selector & 0xFFFC) | cpl, d)
    cpu.a.cpl = cpl
    cpu.a.rip = rip
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def push_return(cpu: CpuP, s: cython.pointer(Stack), rip: uint64_t, size: cython.int) -> cython.void:
    open_current(cpu, s)
    push_on(cpu, s, cpu.a.seg[CS].selector, size)
    push_on(cpu, s, rip, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def go_real(
    cpu: CpuP, selector: uint32_t, offset: uint64_t, size: cython.int, is_call: cython.bint, rip: uint64_t
) -> cython.void:
    """Real and virtual-8086 mode: the selector is the segment."""
    s: Stack
    if offset > cpu.a.seg[CS].limit:
        raise_gp(cpu)
    if is_call:
        push_return(cpu, cython.address(s), rip, size)
        cpu.a.regs[RSP] = s.sp
    if is_v86(cpu):
        commit_v86(cpu, CS, selector)
    else:
        commit_real(cpu, CS, selector)
    cpu.a.rip = offset
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def go_code(
    cpu: CpuP,
    d: cython.pointer(Descriptor),
    offset: uint64_t,
    size: cython.int,
    is_call: cython.bint,
    rip: uint64_t,
) -> cython.void:
    """To a code segment, at the same privilege level."""
    s: Stack
    cpl: cython.int = cpu.a.cpl
    check_code_segment(cpu, d, cpl, rpl_of(d.selector))
    check_rip(cpu, d, offset)
    if is_call:
        push_return(cpu, cython.address(s), rip, size)
    mark_accessed(cpu, d)
    if is_call:
        cpu.a.regs[RSP] = s.sp
    commit_code(cpu, d, cpl, offset)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def go_system(cpu: CpuP, d: cython.pointer(Descriptor), is_call: cython.bint, rip: uint64_t) -> cython.void:
    """To a call gate, a task gate or a TSS."""
    kind: cython.int = type_of(d.attr)
    is_gate: cython.bint = kind == TYPE_CALL_GATE32 or (kind == TYPE_CALL_GATE16 and not is_long(cpu))
    is_tss: cython.bint = (kind == TYPE_TSS16 or kind == TYPE_TSS32) and not is_long(cpu)
    cause: cython.int = FROM_CALL if is_call else FROM_JMP
    if not is_gate and not is_tss and (kind != TYPE_TASK_GATE or is_long(cpu)):
        raise_selector(cpu, GP, d.selector)
    if dpl_of(d.attr) < cpu.a.cpl or dpl_of(d.attr) < rpl_of(d.selector):
        raise_selector(cpu, GP, d.selector)
    if is_tss:
        if d.selector & 4:
            raise_selector(cpu, GP, d.selector)
        switch_task(cpu, d, cause, get_rflags(cpu), rip, False, 0)
        return
    if not is_present(d.attr):
        raise_selector(cpu, NP, d.selector)
    if not is_gate:
        switch_through_gate(cpu, gate_selector(d), cause, get_rflags(cpu), rip, False, 0)
    elif is_call:
        call_through_gate(cpu, d, rip)
    else:
        jump_through_gate(cpu, d)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def go_far(cpu: CpuP, i: InstrP, selector: uint32_t, offset: uint64_t, is_call: cython.bint) -> cython.void:
    d: Descriptor
    size: cython.int = 1 << i.width
    rip: uint64_t = wrap_rip(cpu, next_rip(cpu, i))
    if size == 2:
        offset &= 0xFFFF
    elif size == 4:
        offset &= LOW_32
    if not is_protected(cpu):
        go_real(cpu, selector, offset, size, is_call, rip)
        return
    require_descriptor(cpu, selector, GP, cython.address(d))
    if is_system(d.attr):
        go_system(cpu, cython.address(d), is_call, rip)
    else:
        go_code(cpu, cython.address(d), offset, size, is_call, rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def go_indirect(cpu: CpuP, i: InstrP, is_call: cython.bint) -> cython.void:
    """The far pointer in memory: offset first."""
    size: cython.int = 1 << i.width
    la: uint64_t = ea(cpu, i, size + 2, 0)
    offset: uint64_t = load(cpu, la, size)
    go_far(cpu, i, cython.cast(uint32_t, load(cpu, la + size, 2)), offset, is_call)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jmp_far_direct(cpu: CpuP, i: InstrP) -> cython.void:
    go_far(cpu, i, (i.imm >> 32) & 0xFFFF, i.imm & LOW_32, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_far_direct(cpu: CpuP, i: InstrP) -> cython.void:
    go_far(cpu, i, (i.imm >> 32) & 0xFFFF, i.imm & LOW_32, True)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jmp_far_indirect(cpu: CpuP, i: InstrP) -> cython.void:
    go_indirect(cpu, i, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_far_indirect(cpu: CpuP, i: InstrP) -> cython.void:
    go_indirect(cpu, i, True)
