"""Data movement and flags that need no table of their own: SDM vol. 2."""

import cython
from cython.cimports.libc.stdint import (
    uint8_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import check_read, load
from cython.cimports.ringfence.core.x86.faults import raise_ud
from cython.cimports.ringfence.core.x86.flags import (
    get_cf,
    get_of,
    get_rflags,
    set_arithmetic_flags,
    set_cf,
)
from cython.cimports.ringfence.core.x86.operands import ea, linear, next_, wrap_ea
from cython.cimports.ringfence.core.x86.state import DF, RAX, RBX, CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def nop(cpu: CpuP, i: InstrP) -> cython.void:
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pause(cpu: CpuP, i: InstrP) -> cython.void:
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def undefined(cpu: CpuP, i: InstrP) -> cython.void:
    raise_ud(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def touch(cpu: CpuP, i: InstrP) -> cython.void:
    """CLFLUSH and its kin: no cache to flush, but the address must be readable."""
    check_read(cpu, ea(cpu, i, 1, 0), 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xchg_rax(cpu: CpuP, i: InstrP) -> cython.void:
    """90+r. With no REX.B, 90 is NOP: it does not even clear the upper half of RAX."""
    a: uint64_t = cpu.a.regs[RAX]
    b: uint64_t = cpu.a.regs[i.vvvv]
    if i.vvvv != RAX:
        if i.width == 3:
            cpu.a.regs[RAX] = b
            cpu.a.regs[i.vvvv] = a
        elif i.width == 2:
            cpu.a.regs[RAX] = cython.cast(uint32_t, b)
            cpu.a.regs[i.vvvv] = cython.cast(uint32_t, a)
        else:
            cpu.a.regs[RAX] = (a & ~cython.cast(uint64_t, 0xFFFF)) | (b & 0xFFFF)
            cpu.a.regs[i.vvvv] = (b & ~cython.cast(uint64_t, 0xFFFF)) | (a & 0xFFFF)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xlat(cpu: CpuP, i: InstrP) -> cython.void:
    offset: uint64_t = wrap_ea(i, cpu.a.regs[RBX] + cython.cast(uint8_t, cpu.a.regs[RAX]))
    value: uint64_t = load(cpu, linear(cpu, i.seg, offset, 1, 0), 1)
    cpu.a.regs[RAX] = (cpu.a.regs[RAX] & ~cython.cast(uint64_t, 0xFF)) | value
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sahf(cpu: CpuP, i: InstrP) -> cython.void:
    ah: uint64_t = (cpu.a.regs[RAX] >> 8) & 0xD5
    set_arithmetic_flags(cpu, ah | (get_of(cpu) << 11))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lahf(cpu: CpuP, i: InstrP) -> cython.void:
    flags: uint64_t = get_rflags(cpu) & 0xD7
    cpu.a.regs[RAX] = (cpu.a.regs[RAX] & ~cython.cast(uint64_t, 0xFF00)) | (flags << 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cmc(cpu: CpuP, i: InstrP) -> cython.void:
    set_cf(cpu, get_cf(cpu) ^ 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def clc(cpu: CpuP, i: InstrP) -> cython.void:
    set_cf(cpu, 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stc(cpu: CpuP, i: InstrP) -> cython.void:
    set_cf(cpu, 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cld(cpu: CpuP, i: InstrP) -> cython.void:
    cpu.a.rflags &= ~cython.cast(uint64_t, DF)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def std(cpu: CpuP, i: InstrP) -> cython.void:
    cpu.a.rflags |= DF
    next_(cpu, i)
