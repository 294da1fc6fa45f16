"""Branches within the code segment: SDM vol. 2, Jcc JMP CALL RET LOOP JRCXZ.

A taken branch sets RIP and goes to `dispatch`, which enters the next block without leaving the
chain when it is known. A conditional branch not taken falls through inside its block.
"""

import cython
from cython.cimports.libc.stdint import (
    uint16_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import load
from cython.cimports.ringfence.core.x86.branch import near_target
from cython.cimports.ringfence.core.x86.flags import get_zf
from cython.cimports.ringfence.core.x86.operands import (
    branch_to,
    dispatch,
    ea,
    get_reg,
    jump_near,
    next_rip,
    peek,
    push,
    set_sp,
)
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, RCX, RSP, CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jmp(cpu: CpuP, i: InstrP) -> cython.void:
    jump_near(cpu, i, near_target(cpu, i))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call(cpu: CpuP, i: InstrP) -> cython.void:
    call_to(cpu, i, near_target(cpu, i))
    jump_near(cpu, i, near_target(cpu, i))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_to(cpu: CpuP, i: InstrP, target: uint64_t) -> cython.void:
    """Push the return address; the target is checked before anything is pushed."""
    branch_to(cpu, target)
    push(cpu, return_rip(cpu, i), 1 << i.width)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def return_rip(cpu: CpuP, i: InstrP) -> uint64_t:
    return next_rip(cpu, i) if i.width == 3 else cython.cast(uint32_t, next_rip(cpu, i))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def indirect_target(cpu: CpuP, i: InstrP) -> uint64_t:
    size: cython.int = 1 << i.width
    if i.attr & INSTR_MEMORY:
        return load(cpu, ea(cpu, i, size, 0), size)
    return get_reg(cpu, i.rm, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def call_ev(cpu: CpuP, i: InstrP) -> cython.void:
    call_to(cpu, i, indirect_target(cpu, i))
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jmp_ev(cpu: CpuP, i: InstrP) -> cython.void:
    jump_near(cpu, i, indirect_target(cpu, i))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ret(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    branch_to(cpu, peek(cpu, 0, size))
    set_sp(cpu, cpu.a.regs[RSP] + size)
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ret_imm(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    branch_to(cpu, peek(cpu, 0, size))
    set_sp(cpu, cpu.a.regs[RSP] + size + cython.cast(uint16_t, i.imm))
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_down(cpu: CpuP, i: InstrP) -> uint64_t:
    """RCX less one in the address size, not stored yet."""
    mask: uint64_t = cython.cast(uint64_t, -1) >> (64 - 8 * i.asize)
    return (cpu.a.regs[RCX] - 1) & mask


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_count(cpu: CpuP, i: InstrP, count: uint64_t) -> cython.void:
    if i.asize == 2:
        cpu.a.regs[RCX] = (cpu.a.regs[RCX] & ~cython.cast(uint64_t, 0xFFFF)) | count
    else:
        cpu.a.regs[RCX] = count


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def loop_if(cpu: CpuP, i: InstrP, condition: cython.bint) -> cython.void:
    count: uint64_t = count_down(cpu, i)
    if count != 0 and condition:
        branch_to(cpu, near_target(cpu, i))
    else:
        cpu.a.rip = next_rip(cpu, i)
    store_count(cpu, i, count)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def loop(cpu: CpuP, i: InstrP) -> cython.void:
    loop_if(cpu, i, True)
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def loope(cpu: CpuP, i: InstrP) -> cython.void:
    loop_if(cpu, i, get_zf(cpu) != 0)
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def loopne(cpu: CpuP, i: InstrP) -> cython.void:
    loop_if(cpu, i, get_zf(cpu) == 0)
    dispatch(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jcxz(cpu: CpuP, i: InstrP) -> cython.void:
    mask: uint64_t = cython.cast(uint64_t, -1) >> (64 - 8 * i.asize)
    if cpu.a.regs[RCX] & mask:
        cpu.a.rip = next_rip(cpu, i)
    else:
        branch_to(cpu, near_target(cpu, i))
    dispatch(cpu)
