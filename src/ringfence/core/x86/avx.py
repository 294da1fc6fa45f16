"""AVX, AVX2, AVX-512 on integers, and all that don't look at MXCSR: SDM vol. 1, chapters 14 and 15.

An instruction is the same whatever its operands are: they are put into a frame, its thunk runs, the
destination is taken out. The row tells what the operands are (see decode_table.pxd). VEX clears what
lies above the vector length in the destination, which the host does as well.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.x86.avx import (
    check_avx,
    clear_above_xmm,
    get_vector,
    opmask,
    put_vector,
)
from cython.cimports.ringfence.core.x86.avx_memory import load_memory, store_memory
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import (
    FIELD_IMM,
    FIELD_REG,
    FIELD_RM,
    FIELD_VVVV,
    KIND_GENERAL,
    KIND_MASK,
    KIND_VECTOR,
    NO_TARGET,
    EntryInfoP,
)
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_ud
from cython.cimports.ringfence.core.x86.flags import set_arithmetic_flags
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.sse import Vector, Words
from cython.cimports.ringfence.core.x86.state import (
    CR4_OSXSAVE,
    INSTR_MEMORY,
    MODE_CODE64,
    MODE_CODE_MASK,
    NM,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import call_vector, vector_frame
from cython.cimports.ringfence.core.x86.thunk_vector import VECTOR_FLAGS, VectorFrameP
from cython.cimports.ringfence.core.x86.xsave_legacy import load_mxcsr, store_mxcsr


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def avx_unavailable(cpu: CpuP, needed: uint64_t) -> cython.void:
    if cpu.a.xcr0 & needed != needed or not cpu.a.cr4 & CR4_OSXSAVE:
        raise_ud(cpu)
    raise_fault(cpu, NM)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def number_in(i: InstrP, field: cython.int) -> cython.int:
    """The register that a field names."""
    if field == FIELD_REG:
        return i.reg
    if field == FIELD_VVVV:
        return i.vvvv
    if field == FIELD_RM:
        return i.rm
    return i.imm >> 4 & 15


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_register(cpu: CpuP, i: InstrP, e: EntryInfoP, field: cython.int, to: Vector) -> cython.void:
    kind: cython.int = e.kinds >> 2 * field & 3
    number: cython.int = number_in(i, field)
    if kind == KIND_VECTOR:
        get_vector(cpu, number, to)
    elif kind == KIND_MASK:
        cython.cast(Words, to)[0] = cpu.a.high.opmask[number & 7]
    elif kind == KIND_GENERAL:
        cython.cast(Words, to)[0] = cpu.a.regs[number]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_registers(cpu: CpuP, i: InstrP, e: EntryInfoP) -> VectorFrameP:
    """The frame of an instruction, with all its operands but one in memory."""
    frame: VectorFrameP = vector_frame(cpu)
    frame.opmask = opmask(cpu, i)
    load_register(cpu, i, e, FIELD_REG, frame.slot[FIELD_REG])
    load_register(cpu, i, e, FIELD_VVVV, frame.slot[FIELD_VVVV])
    load_register(cpu, i, e, FIELD_IMM, frame.slot[FIELD_IMM])
    if not i.attr & INSTR_MEMORY:
        load_register(cpu, i, e, FIELD_RM, frame.slot[FIELD_RM])
    return frame


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_operands(cpu: CpuP, i: InstrP, e: EntryInfoP) -> VectorFrameP:
    frame: VectorFrameP = load_registers(cpu, i, e)
    if i.attr & INSTR_MEMORY:
        memset(frame.slot[FIELD_RM], 0, 64)
        if e.target != FIELD_RM:
            load_memory(cpu, i, e, frame.slot[FIELD_RM])
    return frame


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_target(cpu: CpuP, i: InstrP, e: EntryInfoP, frame: VectorFrameP) -> cython.void:
    """The destination's slot to where it belongs."""
    if e.target == NO_TARGET:
        return
    data: Vector = frame.slot[e.target]
    kind: cython.int = e.kinds >> 2 * e.target & 3
    number: cython.int = number_in(i, e.target)
    if e.target == FIELD_RM and i.attr & INSTR_MEMORY:
        store_memory(cpu, i, e, data)
    elif kind == KIND_VECTOR:
        if e.vex == 1:
            memset(data + 32, 0, 32)
        put_vector(cpu, number, data)
    elif kind == KIND_MASK:
        cpu.a.high.opmask[number & 7] = cython.cast(Words, data)[0]
    else:
        cpu.a.regs[number] = cython.cast(Words, data)[0]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector(cpu: CpuP, i: InstrP) -> cython.void:
    """Any operands, any destination."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = load_operands(cpu, i, e)
    call_vector(cpu, i, 0, frame)
    store_target(cpu, i, e, frame)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flags(cpu: CpuP, i: InstrP) -> cython.void:
    """VPTEST, VTESTPS, KORTEST, KTEST: ZF and CF set, the other flags cleared."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = load_operands(cpu, i, e)
    set_arithmetic_flags(cpu, call_vector(cpu, i, VECTOR_FLAGS, frame) >> 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def zero_upper(cpu: CpuP, i: InstrP) -> cython.void:
    """VZEROUPPER: only 64-bit code reaches registers 8 to 15, none 16 to 31."""
    k: cython.int
    check_avx(cpu, entry_info(i.entry))
    for k in range(16 if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64 else 8):
        clear_above_xmm(cpu, k)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def zero_all(cpu: CpuP, i: InstrP) -> cython.void:
    """VZEROALL"""
    k: cython.int
    check_avx(cpu, entry_info(i.entry))
    for k in range(16 if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64 else 8):
        memset(cython.address(cpu.a.fx.xmm[k * 16]), 0, 16)
        clear_above_xmm(cpu, k)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ldmxcsr(cpu: CpuP, i: InstrP) -> cython.void:
    check_avx(cpu, entry_info(i.entry))
    load_mxcsr(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stmxcsr(cpu: CpuP, i: InstrP) -> cython.void:
    check_avx(cpu, entry_info(i.entry))
    store_mxcsr(cpu, i)
    next_(cpu, i)
