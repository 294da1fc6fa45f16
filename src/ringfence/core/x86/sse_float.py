"""SSE floating point: SDM vol. 1, 10.2.3 (MXCSR) and 11.5 (exceptions).

The host runs every instruction with all exceptions masked, so that it never sees one. Where the
guest has unmasked some, the instruction runs on a copy of its destination: what the flags then
say decides between the result and #XM.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_ud
from cython.cimports.ringfence.core.x86.flags import set_arithmetic_flags
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_
from cython.cimports.ringfence.core.x86.sse import (
    ConstVector,
    Dwords,
    Vector,
    Words,
    check_sse,
    copy_vector,
    source,
    source_part,
    xmm,
)
from cython.cimports.ringfence.core.x86.sse_float import (
    MXCSR_DE,
    MXCSR_FLAGS,
    MXCSR_FZ,
    MXCSR_IE,
    MXCSR_MASK_SHIFT,
    MXCSR_MASKS,
    MXCSR_UE,
    MXCSR_UM,
    MXCSR_ZE,
    run_float,
)
from cython.cimports.ringfence.core.x86.state import (
    CR4_OSXMMEXCPT,
    INSTR_MEMORY,
    INSTR_REX_W,
    XM,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import call_thunk, scratch_aside, scratch_operand
from cython.cimports.ringfence.core.x86.thunk_emit import (
    FLAGS,
    FLOAT,
    FROM_4,
    FROM_8,
    FROM_16,
    FROM_GPR,
    LOAD_XMM,
    TO_GPR,
    VECTOR,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def underflows(opcode: uint8_t) -> cython.bint:
    """ADD MUL CVTSD2SS SUB DIV HADD HSUB ADDSUB, DPPS DPPD."""
    return opcode in (0x58, 0x59, 0x5A, 0x5C, 0x5E, 0x7C, 0x7D, 0xD0, 0x40, 0x41)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_tiny(i: InstrP, result: Vector) -> cython.bint:
    """Whether a result of `i` is denormal: an underflow when unmasked, even if exact (4.9.1.5)."""
    info: EntryInfoP = entry_info(i.entry)
    k: cython.int
    is_double: cython.bint = info.prefix in (0x66, 0xF2)
    lanes: cython.int = 1 if info.prefix in (0xF2, 0xF3) else 2 if is_double else 4
    if not underflows(info.opcode):
        return False
    if info.opcode == 0x5A:
        if not is_double:
            return False  # CVTSS2SD widens
        is_double = False
    elif info.opcode in (0x7C, 0x7D, 0xD0) and info.prefix == 0xF2:
        is_double, lanes = False, 4  # F2 means packed single here
    elif info.map == 3:
        is_double = info.opcode == 0x41
        lanes = 2 if is_double else 4
    for k in range(lanes):
        bits: uint64_t
        if is_double:
            bits = cython.cast(Words, result)[k] << 1
            if bits != 0 and bits >> 53 == 0:
                return True
        else:
            bits = cython.cast(uint32_t, cython.cast(Dwords, result)[k] << 1)
            if bits != 0 and bits >> 24 == 0:
                return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_float_unmasked(cpu: CpuP, i: InstrP, shape: cython.int, to: Vector, source: ConstVector) -> uint64_t:
    result: Vector = scratch_aside(cpu)
    mxcsr: Dwords = cython.cast(Dwords, result + 16)
    guest: uint32_t = cpu.a.fx.mxcsr
    unmasked: uint32_t = ~(guest >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS
    mxcsr[0] = (guest | MXCSR_MASKS) & ~MXCSR_FLAGS
    if not guest & MXCSR_UM:
        mxcsr[0] &= ~MXCSR_FZ  # an unmasked underflow is raised, not flushed
    copy_vector(result, to)
    value: uint64_t = call_thunk(cpu, i, shape | FLOAT, result, source, mxcsr)
    raised: uint32_t = mxcsr[0] & MXCSR_FLAGS
    if unmasked & MXCSR_UE and is_tiny(i, result):
        raised |= MXCSR_UE
    if raised & unmasked & (MXCSR_IE | MXCSR_DE | MXCSR_ZE):
        raised &= MXCSR_IE | MXCSR_DE | MXCSR_ZE  # found before anything is computed
    cpu.a.fx.mxcsr |= raised
    if raised & unmasked:
        if not cpu.a.cr4 & CR4_OSXMMEXCPT:
            raise_ud(cpu)
        raise_fault(cpu, XM)
    copy_vector(to, result)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def float_16(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m128"""
    check_sse(cpu)
    run_float(cpu, i, VECTOR | FROM_16, xmm(cpu, i.reg), source(cpu, i))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def float_8(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m64"""
    check_sse(cpu)
    run_float(cpu, i, VECTOR | FROM_8, xmm(cpu, i.reg), source_part(cpu, i, 8))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def float_4(cpu: CpuP, i: InstrP) -> cython.void:
    """xmm, xmm/m32"""
    check_sse(cpu)
    run_float(cpu, i, VECTOR | FROM_4, xmm(cpu, i.reg), source_part(cpu, i, 4))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compare_8(cpu: CpuP, i: InstrP) -> cython.void:
    """COMISD, UCOMISD: ZF PF CF set, the other flags cleared."""
    check_sse(cpu)
    flags: uint64_t = run_float(cpu, i, LOAD_XMM | FROM_8 | FLAGS, xmm(cpu, i.reg), source_part(cpu, i, 8))
    set_arithmetic_flags(cpu, flags >> 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compare_4(cpu: CpuP, i: InstrP) -> cython.void:
    """COMISS, UCOMISS"""
    check_sse(cpu)
    flags: uint64_t = run_float(cpu, i, LOAD_XMM | FROM_4 | FLAGS, xmm(cpu, i.reg), source_part(cpu, i, 4))
    set_arithmetic_flags(cpu, flags >> 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def to_integer_8(cpu: CpuP, i: InstrP) -> cython.void:
    """CVTSD2SI, CVTTSD2SI: r32 or r64, xmm/m64"""
    check_sse(cpu)
    cpu.a.regs[i.reg] = run_float(cpu, i, FROM_8 | TO_GPR, scratch_aside(cpu), source_part(cpu, i, 8))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def to_integer_4(cpu: CpuP, i: InstrP) -> cython.void:
    """CVTSS2SI, CVTTSS2SI: r32 or r64, xmm/m32"""
    check_sse(cpu)
    cpu.a.regs[i.reg] = run_float(cpu, i, FROM_4 | TO_GPR, scratch_aside(cpu), source_part(cpu, i, 4))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def from_integer(cpu: CpuP, i: InstrP) -> cython.void:
    """CVTSI2SD, CVTSI2SS: xmm, r/m32 or r/m64"""
    check_sse(cpu)
    value: Words = cython.cast(Words, scratch_operand(cpu))
    size: cython.int = 8 if i.attr & INSTR_REX_W else 4
    if i.attr & INSTR_MEMORY:
        value[0] = load(cpu, ea(cpu, i, size, 0), size)
    else:
        value[0] = get_reg(cpu, i.rm, size)
    run_float(cpu, i, VECTOR | FROM_GPR, xmm(cpu, i.reg), scratch_operand(cpu))
    next_(cpu, i)
