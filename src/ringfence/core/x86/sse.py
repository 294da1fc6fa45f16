"""SSE to SSE4.2, AES-NI, PCLMULQDQ and SHA on integers: SDM vol. 1, chapters 10 to 12.

A row names a handler by what its operands look like; the thunk of the row does the rest.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.access import load_bytes
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_ud
from cython.cimports.ringfence.core.x86.flags import set_arithmetic_flags
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.sse import (
    ConstVector,
    Words,
    check_sse,
    copy_vector,
    source,
    source_part,
    source_unaligned,
    xmm,
)
from cython.cimports.ringfence.core.x86.state import (
    CF,
    CR0_EM,
    CR4_OSFXSR,
    NM,
    OF,
    RAX,
    RCX,
    RDX,
    ZF,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import call_thunk, scratch_aside, scratch_operand
from cython.cimports.ringfence.core.x86.thunk_emit import (
    FLAGS,
    FROM_2,
    FROM_4,
    FROM_8,
    FROM_16,
    LOAD_XMM,
    MASK,
    STRING,
    VECTOR,
    StringSlotP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sse_unavailable(cpu: CpuP) -> cython.void:
    if cpu.a.cr0 & CR0_EM or not cpu.a.cr4 & CR4_OSFXSR:
        raise_ud(cpu)
    raise_fault(cpu, NM)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_vector_slow(cpu: CpuP, la: uint64_t) -> ConstVector:
    load_bytes(cpu, la, scratch_operand(cpu), 16)
    return scratch_operand(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m128"""
    check_sse(cpu)
    call_thunk(cpu, i, VECTOR | FROM_16, xmm(cpu, i.reg), source(cpu, i), cython.NULL)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_8(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m64"""
    check_sse(cpu)
    call_thunk(cpu, i, VECTOR | FROM_8, xmm(cpu, i.reg), source_part(cpu, i, 8), cython.NULL)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_4(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m32"""
    check_sse(cpu)
    call_thunk(cpu, i, VECTOR | FROM_4, xmm(cpu, i.reg), source_part(cpu, i, 4), cython.NULL)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_2(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m16"""
    check_sse(cpu)
    call_thunk(cpu, i, VECTOR | FROM_2, xmm(cpu, i.reg), source_part(cpu, i, 2), cython.NULL)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_mask(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m128, <XMM0>"""
    check_sse(cpu)
    call_thunk(cpu, i, VECTOR | FROM_16 | MASK, xmm(cpu, i.reg), source(cpu, i), xmm(cpu, 0))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_shift(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, imm8, the xmm in ModRM.rm"""
    check_sse(cpu)
    call_thunk(cpu, i, VECTOR, xmm(cpu, i.rm), cython.NULL, cython.NULL)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ptest(cpu: CpuP, i: InstrP) -> cython.void:
    check_sse(cpu)
    a: Words = cython.cast(Words, xmm(cpu, i.reg))
    b: Words = cython.cast(Words, source(cpu, i))
    b0: uint64_t = b[0]
    b1: uint64_t = b[1]
    zf: uint64_t = ZF if (a[0] & b0 | a[1] & b1) == 0 else 0
    cf: uint64_t = CF if (~a[0] & b0 | ~a[1] & b1) == 0 else 0
    set_arithmetic_flags(cpu, zf | cf)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compare_strings(cpu: CpuP, i: InstrP) -> StringSlotP:
    """PCMPxSTRx: EFLAGS set, its other results in the returned slot. m128 need not be aligned."""
    slot: StringSlotP = cython.cast(StringSlotP, scratch_aside(cpu))
    slot.rax = cpu.a.regs[RAX]
    slot.rdx = cpu.a.regs[RDX]
    flags: uint64_t = call_thunk(
        cpu, i, LOAD_XMM | FROM_16 | STRING | FLAGS, xmm(cpu, i.reg), source_unaligned(cpu, i), slot
    )
    set_arithmetic_flags(cpu, flags >> 8 | (OF if flags & 1 else 0))
    return slot


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pcmpstr_index(cpu: CpuP, i: InstrP) -> cython.void:
    check_sse(cpu)
    cpu.a.regs[RCX] = compare_strings(cpu, i).rcx
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pcmpstr_mask(cpu: CpuP, i: InstrP) -> cython.void:
    check_sse(cpu)
    copy_vector(xmm(cpu, 0), compare_strings(cpu, i).xmm0)
    next_(cpu, i)
