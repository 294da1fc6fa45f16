"""Delivery through the IDT: gates, privilege change, stack switch, IST. SDM vol. 3, 6.10-6.14.

An error code that names the IDT is vector*8 + 2, plus EXT. Frames are written to a `Stack`, so
nothing is changed until the last check has passed.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load_system
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_INTERRUPT_GATE16,
    TYPE_INTERRUPT_GATE32,
    TYPE_TASK_GATE,
    TYPE_TRAP_GATE16,
    TYPE_TRAP_GATE32,
    Descriptor,
    dpl_of,
    gate_offset,
    gate_selector,
    is_canonical,
    is_code,
    is_conforming,
    is_present,
    is_system,
    is_v86,
    parse_descriptor,
    type_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_error
from cython.cimports.ringfence.core.x86.segments import (
    check_stack_segment,
    commit_null,
    commit_segment,
    external_bit,
    mark_accessed,
    raise_selector,
    require_descriptor,
)
from cython.cimports.ringfence.core.x86.stack import (
    Stack,
    open_current,
    open_flat,
    open_inner,
    push_on,
    read_inner_stack,
    read_tss,
)
from cython.cimports.ringfence.core.x86.state import (
    ATTR_DB,
    ATTR_L,
    CS,
    DS,
    ES,
    FS,
    GP,
    GS,
    IF_FLAG,
    NP,
    NT,
    RF,
    RSP,
    SS,
    TF,
    TS,
    VM,
    CpuP,
)
from cython.cimports.ringfence.core.x86.task import FROM_GATE, switch_through_gate


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_idt(cpu: CpuP, exception: cython.int, vector: cython.int) -> cython.void:
    raise_error(cpu, exception, vector * 8 | 2 | external_bit(cpu))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_gate(
    cpu: CpuP, gate: cython.pointer(Descriptor), vector: cython.int, is_software: cython.bint
) -> cython.void:
    """DPL counts only for INT n, INT3 and INTO."""
    if is_software and dpl_of(gate.attr) < cpu.a.cpl:
        raise_idt(cpu, GP, vector)
    if not is_present(gate.attr):
        raise_idt(cpu, NP, vector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_target(cpu: CpuP, selector: uint32_t, code: cython.pointer(Descriptor)) -> cython.int:
    """The gate's code segment, checked; returns the privilege level of the handler."""
    require_descriptor(cpu, selector, GP, code)
    if not is_code(code.attr) or dpl_of(code.attr) > cpu.a.cpl:
        raise_selector(cpu, GP, selector)
    if not is_present(code.attr):
        raise_selector(cpu, NP, selector)
    return cpu.a.cpl if is_conforming(code.attr) else dpl_of(code.attr)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_handler(
    cpu: CpuP, code: cython.pointer(Descriptor), cpl: cython.int, target: uint64_t, is_interrupt: cython.bint
) -> cython.void:
    commit_segment(cpu, CS, (code.selector & 0xFFFC) | cpl, code)
    cpu.a.cpl = cpl
    cpu.a.rip = target
    cpu.a.rflags &= ~cython.cast(uint64_t, TF | NT | RF | VM)
    if is_interrupt:
        cpu.a.rflags &= ~cython.cast(uint64_t, IF_FLAG)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_long(
    cpu: CpuP,
    vector: cython.int,
    is_software: cython.bint,
    has_error: cython.bint,
    error: uint32_t,
    flags: uint64_t,
    rip: uint64_t,
) -> cython.void:
    gate: Descriptor
    code: Descriptor
    s: Stack
    raw: uint64_t
    target: uint64_t
    rsp: uint64_t = cpu.a.regs[RSP]
    cpl: cython.int
    ist: cython.int
    kind: cython.int
    if vector * 16 + 15 > cpu.a.idtr.limit:
        raise_idt(cpu, GP, vector)
    raw = load_system(cpu, cpu.a.idtr.base + vector * 16, 8)
    parse_descriptor(cython.address(gate), cython.cast(uint32_t, raw), cython.cast(uint32_t, raw >> 32))
    target = load_system(cpu, cpu.a.idtr.base + vector * 16 + 8, 8)
    target = (target << 32) | gate_offset(cython.address(gate))
    kind = type_of(gate.attr)
    if not is_system(gate.attr) or (kind != TYPE_INTERRUPT_GATE32 and kind != TYPE_TRAP_GATE32):
        raise_idt(cpu, GP, vector)
    check_gate(cpu, cython.address(gate), vector, is_software)
    cpl = read_target(cpu, gate_selector(cython.address(gate)), cython.address(code))
    if code.attr & (ATTR_L | ATTR_DB) != ATTR_L:
        raise_selector(cpu, GP, code.selector)
    ist = gate.high & 7
    if ist:
        rsp = read_tss(cpu, 36 + 8 * (ist - 1), 8)
    elif cpl < cpu.a.cpl:
        rsp = read_tss(cpu, 4 + 8 * cpl, 8)
    if not is_canonical(target):
        raise_selector(cpu, GP, 0)
    open_flat(cpu, cython.address(s), rsp & ~cython.cast(uint64_t, 15), cpl)
    push_on(cpu, cython.address(s), cpu.a.seg[SS].selector, 8)
    push_on(cpu, cython.address(s), cpu.a.regs[RSP], 8)
    push_on(cpu, cython.address(s), flags, 8)
    push_on(cpu, cython.address(s), cpu.a.seg[CS].selector, 8)
    push_on(cpu, cython.address(s), rip, 8)
    if has_error:
        push_on(cpu, cython.address(s), error, 8)
    mark_accessed(cpu, cython.address(code))
    if cpl < cpu.a.cpl:
        commit_null(cpu, SS, cpl)
    cpu.a.regs[RSP] = s.sp
    enter_handler(cpu, cython.address(code), cpl, target, kind == TYPE_INTERRUPT_GATE32)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def deliver_protected(
    cpu: CpuP,
    vector: cython.int,
    is_software: cython.bint,
    has_error: cython.bint,
    error: uint32_t,
    flags: uint64_t,
    rip: uint64_t,
) -> cython.void:
    gate: Descriptor
    raw: uint64_t
    kind: cython.int
    if vector * 8 + 7 > cpu.a.idtr.limit:
        raise_idt(cpu, GP, vector)
    raw = load_system(cpu, cpu.a.idtr.base + vector * 8, 8)
    parse_descriptor(cython.address(gate), cython.cast(uint32_t, raw), cython.cast(uint32_t, raw >> 32))
    kind = type_of(gate.attr)
    if not is_system(gate.attr):
        raise_idt(cpu, GP, vector)
    if kind == TYPE_TASK_GATE:
        check_gate(cpu, cython.address(gate), vector, is_software)
        switch_through_gate(cpu, gate_selector(cython.address(gate)), FROM_GATE, flags, rip, has_error, error)
    elif (
        kind == TYPE_INTERRUPT_GATE32
        or kind == TYPE_TRAP_GATE32
        or kind == TYPE_INTERRUPT_GATE16
        or kind == TYPE_TRAP_GATE16
    ):
        check_gate(cpu, cython.address(gate), vector, is_software)
        enter_gate(cpu, cython.address(gate), has_error, error, flags, rip)
    else:
        raise_idt(cpu, GP, vector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_gate(
    cpu: CpuP,
    gate: cython.pointer(Descriptor),
    has_error: cython.bint,
    error: uint32_t,
    flags: uint64_t,
    rip: uint64_t,
) -> cython.void:
    """A 16- or 32-bit interrupt or trap gate, from protected or virtual-8086 mode."""
    code: Descriptor
    stack: Descriptor
    s: Stack
    ss: uint32_t = 0
    sp: uint64_t = 0
    is_inner: cython.bint
    from_v86: cython.bint = is_v86(cpu)
    kind: cython.int = type_of(gate.attr)
    size: cython.int = 4 if kind >= TYPE_INTERRUPT_GATE32 else 2
    target: uint64_t = gate_offset(gate)
    cpl: cython.int = read_target(cpu, gate_selector(gate), cython.address(code))
    if size == 2:
        target &= 0xFFFF
    is_inner = cpl < cpu.a.cpl
    if from_v86 and cpl != 0:
        raise_selector(cpu, GP, code.selector)
    if is_inner:
        read_inner_stack(cpu, cpl, cython.address(ss), cython.address(sp))
        check_stack_segment(cpu, ss, cpl, TS, cython.address(stack))
        open_inner(cpu, cython.address(s), cython.address(stack), sp)
    else:
        open_current(cpu, cython.address(s))
    if target > code.limit:
        raise_selector(cpu, GP, 0)
    if from_v86:
        push_on(cpu, cython.address(s), cpu.a.seg[GS].selector, size)
        push_on(cpu, cython.address(s), cpu.a.seg[FS].selector, size)
        push_on(cpu, cython.address(s), cpu.a.seg[DS].selector, size)
        push_on(cpu, cython.address(s), cpu.a.seg[ES].selector, size)
    if is_inner:
        push_on(cpu, cython.address(s), cpu.a.seg[SS].selector, size)
        push_on(cpu, cython.address(s), cpu.a.regs[RSP], size)
    push_on(cpu, cython.address(s), flags, size)
    push_on(cpu, cython.address(s), cpu.a.seg[CS].selector, size)
    push_on(cpu, cython.address(s), rip, size)
    if has_error:
        push_on(cpu, cython.address(s), error, size)
    mark_accessed(cpu, cython.address(code))
    if from_v86:
        commit_null(cpu, GS, 0)
        commit_null(cpu, FS, 0)
        commit_null(cpu, DS, 0)
        commit_null(cpu, ES, 0)
    if is_inner:
        commit_segment(cpu, SS, ss, cython.address(stack))
    cpu.a.regs[RSP] = s.sp
    enter_handler(
        cpu, cython.address(code), cpl, target, kind == TYPE_INTERRUPT_GATE32 or kind == TYPE_INTERRUPT_GATE16
    )
