"""Branches within the code segment: SDM vol. 2, Jcc JMP CALL RET LOOP JRCXZ.

A taken branch enters the next block without leaving the
chain when the jump cache knows it. A conditional branch not taken falls through inside its block.
"""

import cython
from cython.cimports.libc.stdint import (
    uint64_t,
)
from cython.cimports.ringfence.core.x86.branch import near_target
from cython.cimports.ringfence.core.x86.flags import get_zf
from cython.cimports.ringfence.core.x86.operands import (
    branch_to,
    dispatch,
    jump_near,
    next_rip,
)
from cython.cimports.ringfence.core.x86.state import RCX, CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jmp(cpu: CpuP, i: InstrP) -> cython.void:
    jump_near(cpu, i, near_target(cpu, i))


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
