"""The stack: SDM vol. 2, PUSH POP PUSHA POPA ENTER LEAVE."""

import cython
from cython.cimports.libc.stdint import (
    uint16_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import check_write, load, store
from cython.cimports.ringfence.core.x86.operands import (
    ea,
    ea_offset,
    get_reg,
    linear,
    next_,
    peek,
    push,
    set_reg,
    set_sp,
    stack_address,
    wrap_ea,
    wrap_sp,
)
from cython.cimports.ringfence.core.x86.state import (
    EA_FLAT32,
    EA_FLAT64,
    INSTR_MEMORY,
    RBP,
    RSP,
    CpuP,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def push_imm(cpu: CpuP, i: InstrP) -> cython.void:
    push(cpu, cython.cast(uint64_t, i.imm), 1 << i.width)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def push_ev(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    if i.attr & INSTR_MEMORY:
        push(cpu, load(cpu, ea(cpu, i, size, 0), size), size)
    else:
        push(cpu, get_reg(cpu, i.rm, size), size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pop_ev(cpu: CpuP, i: InstrP) -> cython.void:
    """POP to memory: an address that uses RSP is computed after the increment (SDM vol. 2, POP)."""
    size: cython.int = 1 << i.width
    value: uint64_t = peek(cpu, 0, size)
    old: uint64_t = cpu.a.regs[RSP]
    offset: uint64_t
    if i.attr & INSTR_MEMORY:
        set_sp(cpu, old + size)
        offset = wrap_ea(i, ea_offset(cpu, i))
        cpu.a.regs[RSP] = old
        if i.ea_form != EA_FLAT64 and i.ea_form != EA_FLAT32:
            offset = linear(cpu, i.seg, offset, size, 1)
        store(cpu, offset, value, size)
        set_sp(cpu, old + size)
    else:
        set_sp(cpu, old + size)
        set_reg(cpu, i.rm, value, size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_slot(cpu: CpuP, sp: uint64_t, slot: cython.int, value: uint64_t, size: cython.int) -> cython.void:
    """The store of push number `slot`, from 1. RSP stays: the store may leave, and all be run again."""
    store(cpu, stack_address(cpu, wrap_sp(cpu, sp - slot * size), size, 1), value, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pusha(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    old: uint64_t = cpu.a.regs[RSP]
    k: cython.int
    for k in range(8):
        check_write(cpu, stack_address(cpu, wrap_sp(cpu, old - (k + 1) * size), size, 1), size)
    for k in range(8):
        store_slot(cpu, old, k + 1, cpu.a.regs[k], size)
    set_sp(cpu, old - 8 * size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def popa(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    values: uint64_t[8]
    k: cython.int
    for k in range(8):
        values[k] = peek(cpu, k * size, size)
    for k in range(8):
        if 7 - k != RSP:
            set_reg(cpu, 7 - k, values[k], size)
    set_sp(cpu, cpu.a.regs[RSP] + 8 * size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter(cpu: CpuP, i: InstrP) -> cython.void:
    """Build a frame; `imm` is its size, `imm2` the nesting level modulo 32."""
    size: cython.int = 1 << i.width
    level: cython.int = i.imm2 & 31
    sp: uint64_t = cpu.a.regs[RSP]
    frame: uint64_t
    bp: uint64_t = cpu.a.regs[RBP]
    k: cython.int
    # every slot is checked first: a fault half-way must find RSP and RBP unchanged
    for k in range(level + 1):
        check_write(cpu, stack_address(cpu, wrap_sp(cpu, sp - (k + 1) * size), size, 1), size)
    check_write(
        cpu, stack_address(cpu, wrap_sp(cpu, sp - (level + 1) * size - cython.cast(uint16_t, i.imm)), 1, 1), 1
    )
    for k in range(1, level):
        load(cpu, stack_address(cpu, wrap_sp(cpu, bp - k * size), size, 0), size)
    # the operand's size decides how much of it there is, not the stack's
    set_sp(cpu, sp - size)
    frame = cpu.a.regs[RSP]
    cpu.a.regs[RSP] = sp
    store_slot(cpu, sp, 1, bp, size)
    for k in range(1, level):
        store_slot(
            cpu, sp, k + 1, load(cpu, stack_address(cpu, wrap_sp(cpu, bp - k * size), size, 0), size), size
        )
    if level:
        store_slot(cpu, sp, level + 1, frame, size)
    set_frame(cpu, frame, size)
    set_sp(cpu, sp - (level + 1) * size - cython.cast(uint16_t, i.imm))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_frame(cpu: CpuP, frame: uint64_t, size: cython.int) -> cython.void:
    set_reg(cpu, RBP, frame, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def leave_frame(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    bp: uint64_t = wrap_sp(cpu, cpu.a.regs[RBP])
    value: uint64_t = load(cpu, stack_address(cpu, bp, size, 0), size)
    set_sp(cpu, bp + size)
    set_reg(cpu, RBP, value, size)
    next_(cpu, i)
