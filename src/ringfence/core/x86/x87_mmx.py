"""MMX: the x87 registers as eight 64-bit vectors. SDM vol. 1, chapter 9, and vol. 3, chapter 13.

Every MMX instruction but EMMS makes TOP 0 and all registers valid, so that MMn is then where the
image has STn. Until it does, MMn is to be looked for from TOP. Whatever is written to MMn has ones
in the exponent and sign of STn.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.access import load, store
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_ud
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, set_reg
from cython.cimports.ringfence.core.x86.sse import (
    ConstVector,
    HalfWords,
    Vector,
    Words,
    check_sse,
    set_vector,
    source,
    source_part,
    xmm,
)
from cython.cimports.ringfence.core.x86.sse_float import run_float
from cython.cimports.ringfence.core.x86.sse_move import store_masked
from cython.cimports.ringfence.core.x86.state import (
    CR0_EM,
    CR0_TS,
    INSTR_MEMORY,
    INSTR_REX_W,
    NM,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import call_thunk, scratch_operand
from cython.cimports.ringfence.core.x86.thunk_emit import (
    FROM_8,
    FROM_16,
    FROM_MM4,
    FROM_MM8,
    MMX,
    STORE_MM,
    VECTOR,
)
from cython.cimports.ringfence.core.x86.x87 import FSW_ES, FSW_TOP, get_top, set_top, x87_pending


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_mmx(cpu: CpuP) -> cython.void:
    """#UD, #NM, #MF: SDM vol. 2, table 2-24 and the like."""
    if cpu.a.cr0 & (CR0_EM | CR0_TS):
        if cpu.a.cr0 & CR0_EM:
            raise_ud(cpu)
        raise_fault(cpu, NM)
    if cpu.a.fx.fsw & FSW_ES:
        x87_pending(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_mmx(cpu: CpuP) -> cython.void:
    if cpu.a.fx.fsw & FSW_TOP:
        set_top(cpu, 0)
    cpu.a.fx.ftw = 0xFF


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mm(cpu: CpuP, number: cython.int) -> Vector:
    """MMn, wherever TOP is."""
    return cython.address(cpu.a.fx.st[((number - get_top(cython.address(cpu.a.fx))) & 7) * 16])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def get_mm(cpu: CpuP, number: cython.int) -> uint64_t:
    return cython.cast(Words, mm(cpu, number))[0]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_mm(cpu: CpuP, number: cython.int, value: uint64_t) -> cython.void:
    """The last thing an instruction does: it enters MMX state."""
    enter_mmx(cpu)
    to: Words = cython.cast(Words, mm(cpu, number))
    to[0] = value
    to[1] = 0xFFFF


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mm_source(cpu: CpuP, i: InstrP, size: cython.int) -> ConstVector:
    """mm/m64, or mm/m32 of which 4 bytes are read."""
    if i.attr & INSTR_MEMORY:
        cython.cast(Words, scratch_operand(cpu))[0] = load(cpu, ea(cpu, i, size, 0), size)
        return scratch_operand(cpu)
    return mm(cpu, i.rm)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compute(cpu: CpuP, i: InstrP, shape: cython.int, number: cython.int, size: cython.int) -> cython.void:
    """MMn = MMn op mm/m of `size` bytes; a size of 0: there is none."""
    check_mmx(cpu)
    if size != 0 and i.attr & INSTR_MEMORY:
        mm_source(cpu, i, size)
    enter_mmx(cpu)
    source: ConstVector = scratch_operand(cpu) if i.attr & INSTR_MEMORY else mm(cpu, i.rm)
    to: Vector = mm(cpu, number)
    call_thunk(cpu, i, MMX | shape, to, source, cython.NULL)
    cython.cast(Words, to)[1] = 0xFFFF


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mmx(cpu: CpuP, i: InstrP) -> cython.void:
    """mm, mm/m64"""
    compute(cpu, i, FROM_MM8, i.reg, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mmx_4(cpu: CpuP, i: InstrP) -> cython.void:
    """PUNPCKL: mm, mm/m32"""
    compute(cpu, i, FROM_MM4, i.reg, 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mmx_shift(cpu: CpuP, i: InstrP) -> cython.void:
    """mm, imm8, the mm in ModRM.rm"""
    compute(cpu, i, 0, i.rm, 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movd_load(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVD, MOVQ: mm, r/m32 or r/m64"""
    check_mmx(cpu)
    size: cython.int = 8 if i.attr & INSTR_REX_W else 4
    if i.attr & INSTR_MEMORY:
        set_mm(cpu, i.reg, load(cpu, ea(cpu, i, size, 0), size))
    else:
        set_mm(cpu, i.reg, get_reg(cpu, i.rm, size))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movd_store(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVD, MOVQ: r/m32 or r/m64, mm"""
    check_mmx(cpu)
    size: cython.int = 8 if i.attr & INSTR_REX_W else 4
    if i.attr & INSTR_MEMORY:
        store(cpu, ea(cpu, i, size, 1), get_mm(cpu, i.reg), size)
    else:
        set_reg(cpu, i.rm, get_mm(cpu, i.reg), size)
    enter_mmx(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movq_load(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVQ: mm, mm/m64"""
    check_mmx(cpu)
    set_mm(cpu, i.reg, cython.cast(Words, mm_source(cpu, i, 8))[0])
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movq_store(cpu: CpuP, i: InstrP) -> cython.void:
    """MOVQ, MOVNTQ: mm/m64, mm"""
    check_mmx(cpu)
    if i.attr & INSTR_MEMORY:
        store(cpu, ea(cpu, i, 8, 1), get_mm(cpu, i.reg), 8)
        enter_mmx(cpu)
    else:
        set_mm(cpu, i.rm, get_mm(cpu, i.reg))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pinsrw(cpu: CpuP, i: InstrP) -> cython.void:
    """mm, r32/m16, imm8"""
    check_mmx(cpu)
    shift: cython.int = (i.imm & 3) * 16
    value: uint64_t = load(cpu, ea(cpu, i, 2, 0), 2) if i.attr & INSTR_MEMORY else get_reg(cpu, i.rm, 2)
    hole: uint64_t = ~(cython.cast(uint64_t, 0xFFFF) << shift)
    set_mm(cpu, i.reg, get_mm(cpu, i.reg) & hole | value << shift)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pextrw(cpu: CpuP, i: InstrP) -> cython.void:
    """r32, mm, imm8"""
    check_mmx(cpu)
    cpu.a.regs[i.reg] = cython.cast(HalfWords, mm(cpu, i.rm))[i.imm & 3]
    enter_mmx(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pmovmskb(cpu: CpuP, i: InstrP) -> cython.void:
    """r32, mm"""
    check_mmx(cpu)
    signs: uint64_t = get_mm(cpu, i.rm) >> 7 & cython.cast(uint64_t, 0x0101010101010101)
    cpu.a.regs[i.reg] = signs * cython.cast(uint64_t, 0x0102040810204080) >> 56
    enter_mmx(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def maskmovq(cpu: CpuP, i: InstrP) -> cython.void:
    """mm, mm"""
    check_mmx(cpu)
    store_masked(cpu, i, mm(cpu, i.reg), mm(cpu, i.rm), 8)
    enter_mmx(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movq2dq(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, mm"""
    check_sse(cpu)
    check_mmx(cpu)
    set_vector(xmm(cpu, i.reg), get_mm(cpu, i.rm))
    enter_mmx(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movdq2q(cpu: CpuP, i: InstrP) -> cython.void:
    """mm, xmm"""
    check_sse(cpu)
    check_mmx(cpu)
    set_mm(cpu, i.reg, cython.cast(Words, xmm(cpu, i.rm))[0])
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cvtpi(cpu: CpuP, i: InstrP) -> cython.void:
    """CVTPI2PS, CVTPI2PD: xmm, mm/m64. With memory it is no MMX instruction."""
    check_sse(cpu)
    if not i.attr & INSTR_MEMORY:
        check_mmx(cpu)
    run_float(cpu, i, VECTOR | FROM_MM8, xmm(cpu, i.reg), mm_source(cpu, i, 8))
    if not i.attr & INSTR_MEMORY:
        enter_mmx(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cvtps2pi(cpu: CpuP, i: InstrP) -> cython.void:
    """CVTPS2PI, CVTTPS2PI: mm, xmm/m64"""
    check_sse(cpu)
    check_mmx(cpu)
    to: Vector = scratch_operand(cpu) + 16
    run_float(cpu, i, FROM_8 | STORE_MM, to, source_part(cpu, i, 8))
    set_mm(cpu, i.reg, cython.cast(Words, to)[0])
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cvtpd2pi(cpu: CpuP, i: InstrP) -> cython.void:
    """CVTPD2PI, CVTTPD2PI: mm, xmm/m128"""
    check_sse(cpu)
    check_mmx(cpu)
    to: Vector = scratch_operand(cpu) + 16
    run_float(cpu, i, FROM_16 | STORE_MM, to, source(cpu, i))
    set_mm(cpu, i.reg, cython.cast(Words, to)[0])
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def emms(cpu: CpuP, i: InstrP) -> cython.void:
    """All registers empty."""
    check_mmx(cpu)
    set_top(cpu, 0)
    cpu.a.fx.ftw = 0
    next_(cpu, i)
