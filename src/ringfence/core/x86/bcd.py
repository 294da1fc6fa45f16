"""Binary-coded decimal: SDM vol. 2, DAA DAS AAA AAS AAM AAD, and SALC."""

import cython
from cython.cimports.libc.stdint import (
    uint64_t,
)
from cython.cimports.ringfence.core.x86.faults import raise_fault
from cython.cimports.ringfence.core.x86.flags import get_af, get_cf, set_flags_explicit
from cython.cimports.ringfence.core.x86.operands import next_, set_reg
from cython.cimports.ringfence.core.x86.state import DE, RAX, CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def daa(cpu: CpuP, i: InstrP) -> cython.void:
    adjust_decimal(cpu, 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def das(cpu: CpuP, i: InstrP) -> cython.void:
    adjust_decimal(cpu, -1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def adjust_decimal(cpu: CpuP, sign: cython.int) -> cython.void:
    al: cython.int = cpu.a.regs[RAX] & 0xFF
    old: cython.int = al
    carry: uint64_t = get_cf(cpu)
    auxiliary: uint64_t = 0
    new_carry: uint64_t = 0
    if (al & 0xF) > 9 or get_af(cpu):
        al += 6 * sign
        new_carry = carry | ((al >> 8) & 1)
        auxiliary = 1
    if old > 0x99 or carry:
        al += 0x60 * sign
        new_carry = 1
    elif sign > 0:
        new_carry = 0
    set_reg(cpu, RAX, al & 0xFF, 1)
    set_flags_explicit(cpu, al & 0xFF, 8, new_carry, 0, auxiliary)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def aaa(cpu: CpuP, i: InstrP) -> cython.void:
    adjust_ascii(cpu, 0x106)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def aas(cpu: CpuP, i: InstrP) -> cython.void:
    adjust_ascii(cpu, -0x106)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def adjust_ascii(cpu: CpuP, delta: cython.int) -> cython.void:
    ax: cython.int = cpu.a.regs[RAX] & 0xFFFF
    adjusts: cython.bint = (ax & 0xF) > 9 or get_af(cpu)
    if adjusts:
        ax += delta
    set_reg(cpu, RAX, ax & 0xFF0F, 2)
    set_flags_explicit(cpu, ax & 0x0F, 8, adjusts, 0, adjusts)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def aam(cpu: CpuP, i: InstrP) -> cython.void:
    base: cython.int = i.imm & 0xFF
    al: cython.int = cpu.a.regs[RAX] & 0xFF
    if base == 0:
        raise_fault(cpu, DE)
    set_reg(cpu, RAX, ((al / base) << 8) | (al % base), 2)
    set_flags_explicit(cpu, al % base, 8, 0, 0, 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def aad(cpu: CpuP, i: InstrP) -> cython.void:
    ax: cython.int = cpu.a.regs[RAX] & 0xFFFF
    al: cython.int = ((ax & 0xFF) + (ax >> 8) * cython.cast(cython.int, i.imm & 0xFF)) & 0xFF
    set_reg(cpu, RAX, al, 2)
    set_flags_explicit(cpu, al, 8, 0, 0, 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def salc(cpu: CpuP, i: InstrP) -> cython.void:
    set_reg(cpu, RAX, 0xFF if get_cf(cpu) else 0, 1)
    next_(cpu, i)
