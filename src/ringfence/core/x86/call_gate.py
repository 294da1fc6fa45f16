"""Call gates, 16-, 32- and 64-bit: SDM vol. 3, 5.8.3 to 5.8.5.

A CALL to more privileged, non-conforming code switches to that level's stack in the TSS; gates
of 16 and 32 bits then copy up to 31 parameters over. 64-bit gates copy none.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_CALL_GATE32,
    Descriptor,
    dpl_of,
    gate_offset,
    gate_selector,
    is_code,
    is_conforming,
    is_long,
    is_present,
    type_of,
)
from cython.cimports.ringfence.core.x86.far import check_code_segment, check_rip, commit_code
from cython.cimports.ringfence.core.x86.segments import (
    check_stack_segment,
    commit_null,
    commit_segment,
    mark_accessed,
    raise_selector,
    read_upper,
    require_descriptor,
)
from cython.cimports.ringfence.core.x86.stack import (
    Stack,
    open_current,
    open_flat,
    open_inner,
    pop_off,
    push_on,
    read_inner_stack,
    read_tss,
    skip,
)
from cython.cimports.ringfence.core.x86.state import ATTR_DB, ATTR_L, CS, GP, NP, RSP, SS, TS, CpuP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_gate(cpu: CpuP, gate: cython.pointer(Descriptor), code: cython.pointer(Descriptor)) -> uint64_t:
    """The gate's target: fetches the code segment, returns the offset."""
    upper: uint32_t = 0
    target: uint64_t = gate_offset(gate)
    if is_long(cpu):
        if not read_upper(cpu, gate, cython.address(upper)):
            raise_selector(cpu, GP, gate.selector)
        target |= cython.cast(uint64_t, upper) << 32
    elif type_of(gate.attr) != TYPE_CALL_GATE32:
        target &= 0xFFFF
    require_descriptor(cpu, gate_selector(gate), GP, code)
    if not is_code(code.attr) or dpl_of(code.attr) > cpu.a.cpl:
        raise_selector(cpu, GP, code.selector)
    if is_long(cpu) and code.attr & (ATTR_L | ATTR_DB) != ATTR_L:
        raise_selector(cpu, GP, code.selector)
    if not is_present(code.attr):
        raise_selector(cpu, NP, code.selector)
    return target


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jump_through_gate(cpu: CpuP, gate: cython.pointer(Descriptor)) -> cython.void:
    code: Descriptor
    target: uint64_t = read_gate(cpu, gate, cython.address(code))
    check_code_segment(cpu, cython.address(code), cpu.a.cpl, 0)
    check_rip(cpu, cython.address(code), target)
    mark_accessed(cpu, cython.address(code))
    commit_code(cpu, cython.address(code), cpu.a.cpl, target)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_through_gate(cpu: CpuP, gate: cython.pointer(Descriptor), rip: uint64_t) -> cython.void:
    code: Descriptor
    target: uint64_t = read_gate(cpu, gate, cython.address(code))
    check_rip(cpu, cython.address(code), target)
    if not is_conforming(code.attr) and dpl_of(code.attr) < cpu.a.cpl:
        if is_long(cpu):
            call_inner_long(cpu, cython.address(code), target, rip)
        else:
            call_inner(cpu, gate, cython.address(code), target, rip)
    else:
        call_same(cpu, gate, cython.address(code), target, rip)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def size_of(cpu: CpuP, gate: cython.pointer(Descriptor)) -> cython.int:
    if is_long(cpu):
        return 8
    return 4 if type_of(gate.attr) == TYPE_CALL_GATE32 else 2


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_same(
    cpu: CpuP,
    gate: cython.pointer(Descriptor),
    code: cython.pointer(Descriptor),
    target: uint64_t,
    rip: uint64_t,
) -> cython.void:
    s: Stack
    size: cython.int = size_of(cpu, gate)
    open_current(cpu, cython.address(s))
    push_on(cpu, cython.address(s), cpu.a.seg[CS].selector, size)
    push_on(cpu, cython.address(s), rip, size)
    mark_accessed(cpu, code)
    cpu.a.regs[RSP] = s.sp
    commit_code(cpu, code, cpu.a.cpl, target)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_inner(
    cpu: CpuP,
    gate: cython.pointer(Descriptor),
    code: cython.pointer(Descriptor),
    target: uint64_t,
    rip: uint64_t,
) -> cython.void:
    stack: Descriptor
    inner: Stack
    outer: Stack
    ss: uint32_t = 0
    sp: uint64_t = 0
    cpl: cython.int = dpl_of(code.attr)
    size: cython.int = size_of(cpu, gate)
    parameters: cython.int = gate.high & 31
    read_inner_stack(cpu, cpl, cython.address(ss), cython.address(sp))
    check_stack_segment(cpu, ss, cpl, TS, cython.address(stack))
    open_inner(cpu, cython.address(inner), cython.address(stack), sp)
    open_current(cpu, cython.address(outer))
    push_on(cpu, cython.address(inner), cpu.a.seg[SS].selector, size)
    push_on(cpu, cython.address(inner), cpu.a.regs[RSP], size)
    # the last parameter pushed lies lowest: copied from the top down, each slot read once
    skip(cython.address(outer), parameters * size)
    for _ in range(parameters):
        skip(cython.address(outer), -size)
        push_on(cpu, cython.address(inner), pop_off(cpu, cython.address(outer), size), size)
        skip(cython.address(outer), -size)
    push_on(cpu, cython.address(inner), cpu.a.seg[CS].selector, size)
    push_on(cpu, cython.address(inner), rip, size)
    mark_accessed(cpu, code)
    commit_segment(cpu, SS, ss, cython.address(stack))
    cpu.a.regs[RSP] = inner.sp
    commit_code(cpu, code, cpl, target)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_inner_long(
    cpu: CpuP, code: cython.pointer(Descriptor), target: uint64_t, rip: uint64_t
) -> cython.void:
    s: Stack
    cpl: cython.int = dpl_of(code.attr)
    open_flat(cpu, cython.address(s), read_tss(cpu, 4 + 8 * cpl, 8), cpl)
    push_on(cpu, cython.address(s), cpu.a.seg[SS].selector, 8)
    push_on(cpu, cython.address(s), cpu.a.regs[RSP], 8)
    push_on(cpu, cython.address(s), cpu.a.seg[CS].selector, 8)
    push_on(cpu, cython.address(s), rip, 8)
    mark_accessed(cpu, code)
    commit_null(cpu, SS, cpl)
    cpu.a.regs[RSP] = s.sp
    commit_code(cpu, code, cpl, target)
