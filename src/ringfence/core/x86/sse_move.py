"""SSE moves and logic, which need no thunk: SDM vol. 1, 10.4.1, 11.4.1 and 12.

A load writes the whole register at once (see copy_vector); a store checks its alignment, then goes
through the TLB like any other.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.access import check_write, load, store
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, linear, next_, set_reg, wrap_ea
from cython.cimports.ringfence.core.x86.sse import (
    ConstVector,
    Dwords,
    Vector,
    Words,
    _mm_and_si128,
    _mm_andnot_si128,
    _mm_loadu_si128,
    _mm_or_si128,
    _mm_storeu_si128,
    _mm_xor_si128,
    check_sse,
    copy_vector,
    ea_aligned,
    set_vector,
    source,
    source_unaligned,
    store_vector,
    xmm,
)
from cython.cimports.ringfence.core.x86.state import (
    INSTR_MEMORY,
    INSTR_REX_W,
    RDI,
    CpuP,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_aligned(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVAPS, MOVDQA, MOVNTDQA: xmm, xmm/m128"""
    check_sse(cpu)
    copy_vector(xmm(cpu, i.reg), source(cpu, i))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_unaligned(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVUPS, MOVDQU, LDDQU: xmm, xmm/m128"""
    check_sse(cpu)
    copy_vector(xmm(cpu, i.reg), source_unaligned(cpu, i))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_aligned(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVAPS, MOVDQA, MOVNTPS, MOVNTDQ: xmm/m128, xmm"""
    check_sse(cpu)
    if i.attr & INSTR_MEMORY:
        store_vector(cpu, ea_aligned(cpu, i, 1), xmm(cpu, i.reg))
    else:
        copy_vector(xmm(cpu, i.rm), xmm(cpu, i.reg))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_unaligned(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVUPS, MOVDQU: xmm/m128, xmm"""
    check_sse(cpu)
    if i.attr & INSTR_MEMORY:
        store_vector(cpu, ea(cpu, i, 16, 1), xmm(cpu, i.reg))
    else:
        copy_vector(xmm(cpu, i.rm), xmm(cpu, i.reg))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_4(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVSS: xmm, m32"""
    check_sse(cpu)
    set_vector(xmm(cpu, i.reg), load(cpu, ea(cpu, i, 4, 0), 4))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_8(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVSD, MOVQ: xmm, m64"""
    check_sse(cpu)
    set_vector(xmm(cpu, i.reg), load(cpu, ea(cpu, i, 8, 0), 8))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movq_register(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVQ: xmm, xmm"""
    check_sse(cpu)
    set_vector(xmm(cpu, i.reg), cython.cast(Words, xmm(cpu, i.rm))[0])
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movq_store_register(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVQ: the xmm in ModRM.rm, xmm"""
    check_sse(cpu)
    set_vector(xmm(cpu, i.rm), cython.cast(Words, xmm(cpu, i.reg))[0])
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_4(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVSS, MOVD: m32, xmm"""
    check_sse(cpu)
    store(cpu, ea(cpu, i, 4, 1), cython.cast(Dwords, xmm(cpu, i.reg))[0], 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_low(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVSD, MOVQ, MOVLPS: m64, xmm"""
    check_sse(cpu)
    store(cpu, ea(cpu, i, 8, 1), cython.cast(Words, xmm(cpu, i.reg))[0], 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_high(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVHPS: m64, xmm"""
    check_sse(cpu)
    store(cpu, ea(cpu, i, 8, 1), cython.cast(Words, xmm(cpu, i.reg))[1], 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movss_register(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm"""
    check_sse(cpu)
    cython.cast(Dwords, xmm(cpu, i.reg))[0] = cython.cast(Dwords, xmm(cpu, i.rm))[0]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movss_store_register(cpu: CpuP, i: InstrP) -> cython.void:
    """the xmm in ModRM.rm, xmm"""
    check_sse(cpu)
    cython.cast(Dwords, xmm(cpu, i.rm))[0] = cython.cast(Dwords, xmm(cpu, i.reg))[0]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movsd_register(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm"""
    check_sse(cpu)
    cython.cast(Words, xmm(cpu, i.reg))[0] = cython.cast(Words, xmm(cpu, i.rm))[0]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movsd_store_register(cpu: CpuP, i: InstrP) -> cython.void:
    """the xmm in ModRM.rm, xmm"""
    check_sse(cpu)
    cython.cast(Words, xmm(cpu, i.rm))[0] = cython.cast(Words, xmm(cpu, i.reg))[0]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_low(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVLPS: xmm, m64"""
    check_sse(cpu)
    cython.cast(Words, xmm(cpu, i.reg))[0] = load(cpu, ea(cpu, i, 8, 0), 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_high(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVHPS: xmm, m64"""
    check_sse(cpu)
    cython.cast(Words, xmm(cpu, i.reg))[1] = load(cpu, ea(cpu, i, 8, 0), 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movhlps(cpu: CpuP, i: InstrP) -> cython.void:
    check_sse(cpu)
    cython.cast(Words, xmm(cpu, i.reg))[0] = cython.cast(Words, xmm(cpu, i.rm))[1]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movlhps(cpu: CpuP, i: InstrP) -> cython.void:
    check_sse(cpu)
    cython.cast(Words, xmm(cpu, i.reg))[1] = cython.cast(Words, xmm(cpu, i.rm))[0]
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movd_load(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVD, MOVQ: xmm, r/m32 or r/m64"""
    check_sse(cpu)
    if i.attr & INSTR_MEMORY:
        if i.attr & INSTR_REX_W:
            set_vector(xmm(cpu, i.reg), load(cpu, ea(cpu, i, 8, 0), 8))
        else:
            set_vector(xmm(cpu, i.reg), load(cpu, ea(cpu, i, 4, 0), 4))
    else:
        set_vector(xmm(cpu, i.reg), get_reg(cpu, i.rm, 8 if i.attr & INSTR_REX_W else 4))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movd_store(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVD, MOVQ: r/m32 or r/m64, xmm"""
    check_sse(cpu)
    value: uint64_t = cython.cast(Words, xmm(cpu, i.reg))[0]
    if i.attr & INSTR_MEMORY:
        if i.attr & INSTR_REX_W:
            store(cpu, ea(cpu, i, 8, 1), value, 8)
        else:
            store(cpu, ea(cpu, i, 4, 1), value, 4)
    else:
        set_reg(cpu, i.rm, value, 8 if i.attr & INSTR_REX_W else 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def logic_and(cpu: CpuP, i: InstrP) -> cython.void:
    """PAND, ANDPS"""
    check_sse(cpu)
    to: Vector = xmm(cpu, i.reg)
    _mm_storeu_si128(to, _mm_and_si128(_mm_loadu_si128(to), _mm_loadu_si128(source(cpu, i))))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def logic_andnot(cpu: CpuP, i: InstrP) -> cython.void:
    """PANDN, ANDNPS: the destination is the one inverted"""
    check_sse(cpu)
    to: Vector = xmm(cpu, i.reg)
    _mm_storeu_si128(to, _mm_andnot_si128(_mm_loadu_si128(to), _mm_loadu_si128(source(cpu, i))))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def logic_or(cpu: CpuP, i: InstrP) -> cython.void:
    """POR, ORPS"""
    check_sse(cpu)
    to: Vector = xmm(cpu, i.reg)
    _mm_storeu_si128(to, _mm_or_si128(_mm_loadu_si128(to), _mm_loadu_si128(source(cpu, i))))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def logic_xor(cpu: CpuP, i: InstrP) -> cython.void:
    """PXOR, XORPS"""
    check_sse(cpu)
    to: Vector = xmm(cpu, i.reg)
    _mm_storeu_si128(to, _mm_xor_si128(_mm_loadu_si128(to), _mm_loadu_si128(source(cpu, i))))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_masked(cpu: CpuP, i: InstrP, data: ConstVector, mask: ConstVector, size: cython.int) -> cython.void:
    """MASKMOVDQU, MASKMOVQ: the bytes with a 1 at the top of their mask go to DS:rDI."""
    k: cython.int
    rdi: uint64_t = cpu.a.regs[RDI]
    for k in range(size):
        if mask[k] & 0x80:
            check_write(cpu, linear(cpu, i.seg, wrap_ea(i, rdi + k), 1, 1), 1)
    for k in range(size):
        if mask[k] & 0x80:
            store(cpu, linear(cpu, i.seg, wrap_ea(i, rdi + k), 1, 1), data[k], 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def maskmovdqu(cpu: CpuP, i: InstrP) -> cython.void:
    check_sse(cpu)
    store_masked(cpu, i, xmm(cpu, i.reg), xmm(cpu, i.rm), 16)
    next_(cpu, i)
