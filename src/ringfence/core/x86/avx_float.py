"""AVX, FMA, F16C and AVX-512 on floating-point numbers: SDM vol. 1, 14.3, 15.6.4 (rounding) and 11.5.

As in sse_float, the host runs with all exceptions masked, and where the guest has unmasked some the
flags decide between result and #XM. The operands are copies already.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.avx import (
    check_avx,
    load_operands,
    store_target,
)
from cython.cimports.ringfence.core.x86.avx_memory import check_store
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import (
    FIELD_RM,
    RESULT_PD,
    RESULT_PH,
    RESULT_PS,
    RESULT_SD,
    RESULT_SS,
    VECTOR_ROUND,
    EntryInfoP,
)
from cython.cimports.ringfence.core.x86.decode_vector import VEX_B, VEX_ROUND_SHIFT, vector_length
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_ud
from cython.cimports.ringfence.core.x86.flags import set_arithmetic_flags
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.sse import Dwords, HalfWords, Vector, Words
from cython.cimports.ringfence.core.x86.sse_float import (
    MXCSR_DE,
    MXCSR_FLAGS,
    MXCSR_FZ,
    MXCSR_IE,
    MXCSR_MASK_SHIFT,
    MXCSR_MASKS,
    MXCSR_RC_SHIFT,
    MXCSR_UE,
    MXCSR_UM,
    MXCSR_ZE,
)
from cython.cimports.ringfence.core.x86.state import CR4_OSXMMEXCPT, INSTR_MEMORY, XM, CpuP, InstrP
from cython.cimports.ringfence.core.x86.thunk import call_vector
from cython.cimports.ringfence.core.x86.thunk_vector import VECTOR_FLAGS, VECTOR_FLOAT, VectorFrameP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def underflows(e: EntryInfoP) -> cython.bint:
    """Whether a denormal result is an underflow: moves, conversions that widen, minima do not compute one."""
    opcode: cython.int = e.opcode
    if e.map == 1:
        if opcode == 0x5A:
            return e.prefix == 0x66 or e.prefix == 0xF2
        return opcode in (0x58, 0x59, 0x5C, 0x5E, 0x7C, 0x7D, 0xD0)
    if e.map == 2:
        # VSCALEF, and the three blocks of FMA
        return opcode & 0xFE == 0x2C or (opcode & 15 >= 6 and opcode >> 4 in (9, 10, 11))
    return opcode in (0x1D, 0x40, 0x41)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_tiny(e: EntryInfoP, i: InstrP, result: Vector, mask: uint64_t) -> cython.bint:
    """Whether a result is denormal: an underflow when unmasked, even if exact (4.9.1.5)."""
    k: cython.int
    bits: uint64_t
    lanes: cython.int = 16 << vector_length(i)
    if not underflows(e):
        return False
    if e.result == RESULT_PD or e.result == RESULT_SD:
        lanes = 1 if e.result == RESULT_SD else lanes >> 3
        for k in range(lanes):
            bits = cython.cast(Words, result)[k] << 1
            if mask >> k & 1 and bits != 0 and bits >> 53 == 0:
                return True
    elif e.result == RESULT_PS or e.result == RESULT_SS:
        # a narrowing conversion fills half of the destination
        lanes = 1 if e.result == RESULT_SS else lanes >> (3 if e.opcode == 0x5A else 2)
        for k in range(lanes):
            bits = cython.cast(uint32_t, cython.cast(Dwords, result)[k] << 1)
            if mask >> k & 1 and bits != 0 and bits >> 24 == 0:
                return True
    elif e.result == RESULT_PH:
        for k in range(lanes >> 2):
            bits = cython.cast(HalfWords, result)[k] & 0x7FFF
            if mask >> k & 1 and bits != 0 and bits >> 10 == 0:
                return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_quiet(cpu: CpuP, i: InstrP, e: EntryInfoP, shape: cython.int, frame: VectorFrameP) -> uint64_t:
    """EVEX.b with registers: no exceptions and no flags, and rounding as the instruction says."""
    frame.mxcsr = cpu.a.fx.mxcsr | MXCSR_MASKS
    if e.vector & VECTOR_ROUND:
        frame.mxcsr &= ~(3 << MXCSR_RC_SHIFT)
        frame.mxcsr |= cython.cast(uint32_t, i.imm >> VEX_ROUND_SHIFT & 3) << MXCSR_RC_SHIFT
    value: uint64_t = call_vector(cpu, i, shape, frame)
    frame.mxcsr = cpu.a.fx.mxcsr
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_unmasked(cpu: CpuP, i: InstrP, e: EntryInfoP, shape: cython.int, frame: VectorFrameP) -> uint64_t:
    guest: uint32_t = cpu.a.fx.mxcsr
    unmasked: uint32_t = ~(guest >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS
    frame.mxcsr = (guest | MXCSR_MASKS) & ~MXCSR_FLAGS
    if not guest & MXCSR_UM:
        frame.mxcsr &= ~MXCSR_FZ  # an unmasked underflow is raised, not flushed
    value: uint64_t = call_vector(cpu, i, shape, frame)
    raised: uint32_t = frame.mxcsr & MXCSR_FLAGS
    frame.mxcsr = guest
    if unmasked & MXCSR_UE and is_tiny(e, i, frame.slot[e.target & 3], frame.opmask):
        raised |= MXCSR_UE
    if raised & unmasked & (MXCSR_IE | MXCSR_DE | MXCSR_ZE):
        raised &= MXCSR_IE | MXCSR_DE | MXCSR_ZE  # found before anything is computed
    frame.mxcsr |= raised
    if raised & unmasked:
        cpu.a.fx.mxcsr = frame.mxcsr
        if not cpu.a.cr4 & CR4_OSXMMEXCPT:
            raise_ud(cpu)
        raise_fault(cpu, XM)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_vector(cpu: CpuP, i: InstrP, e: EntryInfoP, shape: cython.int, frame: VectorFrameP) -> uint64_t:
    """Afterwards the guest's new MXCSR is in the frame: a destination in memory may still fault."""
    if i.imm & VEX_B and not i.attr & INSTR_MEMORY:
        return run_quiet(cpu, i, e, shape | VECTOR_FLOAT, frame)
    if cpu.a.fx.mxcsr & MXCSR_MASKS != MXCSR_MASKS:
        return run_unmasked(cpu, i, e, shape | VECTOR_FLOAT, frame)
    frame.mxcsr = cpu.a.fx.mxcsr
    return call_vector(cpu, i, shape | VECTOR_FLOAT, frame)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector(cpu: CpuP, i: InstrP) -> cython.void:
    """Any operands, any destination."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = load_operands(cpu, i, e)
    if e.target == FIELD_RM and i.attr & INSTR_MEMORY:
        check_store(cpu, i, e)
    run_vector(cpu, i, e, 0, frame)
    store_target(cpu, i, e, frame)
    cpu.a.fx.mxcsr = frame.mxcsr
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flags(cpu: CpuP, i: InstrP) -> cython.void:
    """VCOMISS, VUCOMISS, VCOMISD, VUCOMISD: ZF PF CF set, the other flags cleared."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = load_operands(cpu, i, e)
    set_arithmetic_flags(cpu, run_vector(cpu, i, e, VECTOR_FLAGS, frame) >> 8)
    cpu.a.fx.mxcsr = frame.mxcsr
    next_(cpu, i)
