"""SSE instructions between vector and general registers: PMOVMSKB, PEXTR, PINSR and their kin.

SDM vol. 1, 11.4.1 and 12.10.6. An element number is the immediate cut to the vector's size.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.access import load, store
from cython.cimports.ringfence.core.x86.operands import ea, next_
from cython.cimports.ringfence.core.x86.sse import (
    Dwords,
    HalfWords,
    Words,
    _mm_loadu_si128,
    _mm_movemask_epi8,
    check_sse,
    xmm,
)
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, INSTR_REX_W, CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_element(cpu: CpuP, i: InstrP, value: uint64_t, size: cython.int) -> cython.void:
    """A zero-extended element to r/m; a register is written whole."""
    if i.attr & INSTR_MEMORY:
        store(cpu, ea(cpu, i, size, 1), value, size)
    else:
        cpu.a.regs[i.rm] = value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def get_element(cpu: CpuP, i: InstrP, size: cython.int) -> uint64_t:
    if i.attr & INSTR_MEMORY:
        return load(cpu, ea(cpu, i, size, 0), size)
    return cpu.a.regs[i.rm]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movmskps(cpu: CpuP, i: InstrP) -> cython.void:
    """r32, xmm"""
    check_sse(cpu)
    a: Words = cython.cast(Words, xmm(cpu, i.rm))
    cpu.a.regs[i.reg] = (a[0] >> 31 & 1) | (a[0] >> 63 << 1) | (a[1] >> 31 & 1) << 2 | a[1] >> 63 << 3
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movmskpd(cpu: CpuP, i: InstrP) -> cython.void:
    """r32, xmm"""
    check_sse(cpu)
    a: Words = cython.cast(Words, xmm(cpu, i.rm))
    cpu.a.regs[i.reg] = a[0] >> 63 | a[1] >> 63 << 1
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pmovmskb(cpu: CpuP, i: InstrP) -> cython.void:
    """r32, xmm"""
    check_sse(cpu)
    cpu.a.regs[i.reg] = _mm_movemask_epi8(_mm_loadu_si128(xmm(cpu, i.rm)))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pextrb(cpu: CpuP, i: InstrP) -> cython.void:
    """r32/m8, xmm, imm8"""
    check_sse(cpu)
    put_element(cpu, i, xmm(cpu, i.reg)[i.imm & 15], 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pextrw(cpu: CpuP, i: InstrP) -> cython.void:
    """r32/m16, xmm, imm8"""
    check_sse(cpu)
    put_element(cpu, i, cython.cast(HalfWords, xmm(cpu, i.reg))[i.imm & 7], 2)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pextrw_register(cpu: CpuP, i: InstrP) -> cython.void:
    """r32, xmm, imm8: the SSE2 form, whose operands are the other way round"""
    check_sse(cpu)
    cpu.a.regs[i.reg] = cython.cast(HalfWords, xmm(cpu, i.rm))[i.imm & 7]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pextrd(cpu: CpuP, i: InstrP) -> cython.void:
    """PEXTRD, PEXTRQ: r/m32 or r/m64, xmm, imm8"""
    check_sse(cpu)
    if i.attr & INSTR_REX_W:
        put_element(cpu, i, cython.cast(Words, xmm(cpu, i.reg))[i.imm & 1], 8)
    else:
        put_element(cpu, i, cython.cast(Dwords, xmm(cpu, i.reg))[i.imm & 3], 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def extractps(cpu: CpuP, i: InstrP) -> cython.void:
    """r/m32, xmm, imm8"""
    check_sse(cpu)
    put_element(cpu, i, cython.cast(Dwords, xmm(cpu, i.reg))[i.imm & 3], 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pinsrb(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, r32/m8, imm8"""
    check_sse(cpu)
    xmm(cpu, i.reg)[i.imm & 15] = get_element(cpu, i, 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pinsrw(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, r32/m16, imm8"""
    check_sse(cpu)
    cython.cast(HalfWords, xmm(cpu, i.reg))[i.imm & 7] = get_element(cpu, i, 2)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pinsrd(cpu: CpuP, i: InstrP) -> cython.void:
    """PINSRD, PINSRQ: xmm, r/m32 or r/m64, imm8"""
    check_sse(cpu)
    if i.attr & INSTR_REX_W:
        cython.cast(Words, xmm(cpu, i.reg))[i.imm & 1] = get_element(cpu, i, 8)
    else:
        cython.cast(Dwords, xmm(cpu, i.reg))[i.imm & 3] = get_element(cpu, i, 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def insertps(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m32, imm8: bits 7-6 select from a register, 5-4 where to, 3-0 what becomes zero."""
    check_sse(cpu)
    to: Dwords = cython.cast(Dwords, xmm(cpu, i.reg))
    k: cython.int
    if i.attr & INSTR_MEMORY:
        to[i.imm >> 4 & 3] = load(cpu, ea(cpu, i, 4, 0), 4)
    else:
        to[i.imm >> 4 & 3] = cython.cast(Dwords, xmm(cpu, i.rm))[i.imm >> 6 & 3]
    for k in range(4):
        if i.imm >> k & 1:
            to[k] = 0
    next_(cpu, i)
