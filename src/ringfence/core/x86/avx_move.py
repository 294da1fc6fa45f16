"""AVX and AVX-512 moves whose memory operand depends on a mask; and what is SSE's but for the encoding.

SDM vol. 2: VMASKMOV, VPMASKMOV, VPCOMPRESS, VPEXPAND; SDM vol. 1, 14.3.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.x86.access import load_bytes, store_bytes
from cython.cimports.ringfence.core.x86.avx import (
    check_avx,
    clear_above_xmm,
    element_bytes,
    element_count,
    get_vector,
    load_registers,
    put_vector,
    store_target,
)
from cython.cimports.ringfence.core.x86.avx_memory import load_elements, store_elements, vector_address
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import FIELD_REG, FIELD_RM, FIELD_VVVV, EntryInfoP
from cython.cimports.ringfence.core.x86.decode_vector import memory_bytes
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.sse import (
    ConstVector,
    Vector,
    compare_strings,
    copy_vector,
    xmm,
)
from cython.cimports.ringfence.core.x86.sse_move import store_masked as sse_store_masked
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, INSTR_REX_W, RCX, CpuP, InstrP
from cython.cimports.ringfence.core.x86.thunk import call_vector, vector_frame
from cython.cimports.ringfence.core.x86.thunk_vector import VectorFrameP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sign_mask(data: ConstVector, count: cython.int, element: cython.int) -> uint64_t:
    """The top bit of each element."""
    mask: uint64_t = 0
    k: cython.int
    for k in range(count):
        mask |= cython.cast(uint64_t, data[k * element + element - 1] >> 7) << k
    return mask


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def masked_element(e: EntryInfoP, i: InstrP) -> cython.int:
    """VMASKMOVPS and PD have an opcode each, VPMASKMOVD and Q differ by W."""
    return 8 if i.attr & INSTR_REX_W or e.opcode in (0x2D, 0x2F) else 4


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_masked(cpu: CpuP, i: InstrP) -> cython.void:
    """VMASKMOV, VPMASKMOV: vector, mask vector, memory; what is masked off becomes 0."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = vector_frame(cpu)
    to: Vector = frame.slot[FIELD_REG]
    size: cython.int = memory_bytes(e, i)
    element: cython.int = masked_element(e, i)
    k: cython.int
    get_vector(cpu, i.vvvv, frame.slot[FIELD_VVVV])
    mask: uint64_t = sign_mask(frame.slot[FIELD_VVVV], size // element, element)
    memset(to, 0, 64)
    if mask:
        load_elements(cpu, vector_address(cpu, i, e, size, 0), to, size // element, element, mask)
    for k in range(size // element):
        if not mask >> k & 1:
            memset(to + k * element, 0, element)
    put_vector(cpu, i.reg, to)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_masked(cpu: CpuP, i: InstrP) -> cython.void:
    """VMASKMOV, VPMASKMOV: memory, mask vector, vector"""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = vector_frame(cpu)
    size: cython.int = memory_bytes(e, i)
    element: cython.int = masked_element(e, i)
    get_vector(cpu, i.vvvv, frame.slot[FIELD_VVVV])
    get_vector(cpu, i.reg, frame.slot[FIELD_REG])
    mask: uint64_t = sign_mask(frame.slot[FIELD_VVVV], size // element, element)
    if mask:
        la: uint64_t = vector_address(cpu, i, e, size, 1)
        store_elements(cpu, la, frame.slot[FIELD_REG], size // element, element, mask)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def packed_bytes(frame: VectorFrameP, e: EntryInfoP, i: InstrP) -> cython.int:
    """What the enabled elements take in memory, where they lie side by side."""
    k: cython.int
    count: cython.int = 0
    for k in range(element_count(e, i)):
        count += frame.opmask >> k & 1
    return count * element_bytes(e)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def expand(cpu: CpuP, i: InstrP) -> cython.void:
    """VEXPAND, VPEXPAND: vector, vector or memory"""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = load_registers(cpu, i, e)
    if i.attr & INSTR_MEMORY:
        size: cython.int = packed_bytes(frame, e, i)
        if size:
            load_bytes(cpu, vector_address(cpu, i, e, size, 0), frame.slot[FIELD_RM], size)
    call_vector(cpu, i, 0, frame)
    store_target(cpu, i, e, frame)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compress(cpu: CpuP, i: InstrP) -> cython.void:
    """VCOMPRESS, VPCOMPRESS: vector or memory, vector"""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = load_registers(cpu, i, e)
    call_vector(cpu, i, 0, frame)
    if i.attr & INSTR_MEMORY:
        size: cython.int = packed_bytes(frame, e, i)
        if size:
            store_bytes(cpu, vector_address(cpu, i, e, size, 1), frame.slot[FIELD_RM], size)
    else:
        store_target(cpu, i, e, frame)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def maskmovdqu(cpu: CpuP, i: InstrP) -> cython.void:
    check_avx(cpu, entry_info(i.entry))
    sse_store_masked(cpu, i, xmm(cpu, i.reg), xmm(cpu, i.rm), 16)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pcmpstr_index(cpu: CpuP, i: InstrP) -> cython.void:
    check_avx(cpu, entry_info(i.entry))
    cpu.a.regs[RCX] = compare_strings(cpu, i).rcx
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pcmpstr_mask(cpu: CpuP, i: InstrP) -> cython.void:
    check_avx(cpu, entry_info(i.entry))
    copy_vector(xmm(cpu, 0), compare_strings(cpu, i).xmm0)
    clear_above_xmm(cpu, 0)
    next_(cpu, i)
