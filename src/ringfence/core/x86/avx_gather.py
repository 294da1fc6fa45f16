"""Gather and scatter: SDM vol. 2, VGATHERDPS, VPSCATTERDD and their kin; vol. 1, 14.15 and 15.6.4.

Elements are taken in order, and each that is done is struck off the mask: a fault leaves the instruction
to go on where it was. An element that the VMM answers for is not struck off before the end, for the
instruction is run from its start then and must make the same accesses.
"""

import cython
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86.access import (
    check_write,
    load,
    peek_host,
    poke_host,
    probe,
    store,
)
from cython.cimports.ringfence.core.x86.avx import check_avx, get_vector, put_vector
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import FIELD_REG, FIELD_RM, FIELD_VVVV, EntryInfoP
from cython.cimports.ringfence.core.x86.decode_vector import memory_bytes, opmask_number, vector_length
from cython.cimports.ringfence.core.x86.faults import raise_ud
from cython.cimports.ringfence.core.x86.operands import linear, next_, wrap_ea
from cython.cimports.ringfence.core.x86.sse import ConstVector, Vector
from cython.cimports.ringfence.core.x86.state import (
    EA_BASE64,
    EA_FLAT32,
    EA_FLAT64,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import vector_frame
from cython.cimports.ringfence.core.x86.thunk_vector import VectorFrameP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_bytes(e: EntryInfoP) -> cython.int:
    """Odd opcodes have 64-bit indices."""
    return 8 if e.opcode & 1 else 4


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_of(e: EntryInfoP, i: InstrP) -> cython.int:
    """Elements: as many as fit in the vector length of the larger of index and data."""
    return 16 << vector_length(i) >> (3 if index_bytes(e) == 8 or memory_bytes(e, i) == 8 else 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def element_address(
    cpu: CpuP, i: InstrP, e: EntryInfoP, indices: ConstVector, k: cython.int, is_write: cython.int
) -> uint64_t:
    size: cython.int = memory_bytes(e, i)
    raw: uint64_t = peek_host(indices + k * index_bytes(e), index_bytes(e))
    index: int64_t = cython.cast(int32_t, raw) if index_bytes(e) == 4 else cython.cast(int64_t, raw)
    offset: uint64_t = cpu.a.regs[i.base] + (cython.cast(uint64_t, index) << i.scale)
    offset += cython.cast(uint64_t, cython.cast(int64_t, i.disp))
    if i.ea_form == EA_FLAT64:
        return offset
    if i.ea_form == EA_FLAT32:
        return cython.cast(uint32_t, offset)
    if i.ea_form == EA_BASE64:
        return offset + cpu.a.seg[i.seg].base
    return linear(cpu, i.seg, wrap_ea(i, offset), size, is_write)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ram(cpu: CpuP, la: uint64_t, size: cython.int, is_write: cython.int) -> cython.pointer(uint8_t):
    """Where an element lies in RAM, or NULL: then load() and store() know what to do. May fault."""
    room: uint64_t = 0
    host: cython.pointer(uint8_t) = probe(cpu, la, is_write, cython.address(room))
    return host if room >= cython.cast(uint64_t, size) else cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def strike_vector(cpu: CpuP, i: InstrP, frame: VectorFrameP, k: cython.int, size: cython.int) -> cython.void:
    """An element of a VEX gather is done: destination and mask register say so."""
    memset(frame.slot[FIELD_VVVV] + k * size, 0, size)
    put_vector(cpu, i.vvvv, frame.slot[FIELD_VVVV])
    put_vector(cpu, i.reg, frame.slot[FIELD_REG])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def gather(cpu: CpuP, i: InstrP) -> cython.void:
    """VEX: vector, memory, mask vector. All three registers must differ."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    if i.reg == i.rm or i.reg == i.vvvv or i.rm == i.vvvv:
        raise_ud(cpu)
    frame: VectorFrameP = vector_frame(cpu)
    to: Vector = frame.slot[FIELD_REG]
    mask: Vector = frame.slot[FIELD_VVVV]
    size: cython.int = memory_bytes(e, i)
    count: cython.int = count_of(e, i)
    strikes: cython.bint = True
    k: cython.int
    get_vector(cpu, i.reg, to)
    get_vector(cpu, i.vvvv, mask)
    get_vector(cpu, i.rm, frame.slot[FIELD_RM])
    for k in range(count):
        if mask[k * size + size - 1] & 0x80:
            la: uint64_t = element_address(cpu, i, e, frame.slot[FIELD_RM], k, 0)
            host: cython.pointer(uint8_t) = ram(cpu, la, size, 0)
            if host != cython.NULL:
                # SAFETY: ram() found `size` bytes there
                memcpy(to + k * size, host, size)
            else:
                strikes = False
                poke_host(to + k * size, load(cpu, la, size), size)
        if strikes:
            strike_vector(cpu, i, frame, k, size)
    memset(to + count * size, 0, 64 - count * size)
    memset(mask, 0, 64)
    put_vector(cpu, i.reg, to)
    put_vector(cpu, i.vvvv, mask)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def gather_masked(cpu: CpuP, i: InstrP) -> cython.void:
    """EVEX: vector under an opmask, memory. Destination and index must differ."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    if i.reg == i.rm:
        raise_ud(cpu)
    frame: VectorFrameP = vector_frame(cpu)
    to: Vector = frame.slot[FIELD_REG]
    size: cython.int = memory_bytes(e, i)
    count: cython.int = count_of(e, i)
    number: cython.int = opmask_number(i)
    mask: uint64_t = cpu.a.high.opmask[number]
    strikes: cython.bint = True
    k: cython.int
    get_vector(cpu, i.reg, to)
    # above the vector length at once, what a shorter result leaves of it only in the end
    memset(to + (16 << vector_length(i)), 0, 64 - (16 << vector_length(i)))
    get_vector(cpu, i.rm, frame.slot[FIELD_RM])
    for k in range(count):
        if not mask >> k & 1:
            continue
        la: uint64_t = element_address(cpu, i, e, frame.slot[FIELD_RM], k, 0)
        host: cython.pointer(uint8_t) = ram(cpu, la, size, 0)
        if host != cython.NULL:
            # SAFETY: as in gather()
            memcpy(to + k * size, host, size)
        else:
            strikes = False
            poke_host(to + k * size, load(cpu, la, size), size)
        if strikes:
            mask &= ~(cython.cast(uint64_t, 1) << k)
            cpu.a.high.opmask[number] = mask
            put_vector(cpu, i.reg, to)
    memset(to + count * size, 0, 64 - count * size)
    put_vector(cpu, i.reg, to)
    cpu.a.high.opmask[number] = 0
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scatter(cpu: CpuP, i: InstrP) -> cython.void:
    """EVEX: memory under an opmask, vector"""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = vector_frame(cpu)
    data: Vector = frame.slot[FIELD_REG]
    size: cython.int = memory_bytes(e, i)
    number: cython.int = opmask_number(i)
    mask: uint64_t = cpu.a.high.opmask[number]
    strikes: cython.bint = True
    k: cython.int
    get_vector(cpu, i.reg, data)
    get_vector(cpu, i.rm, frame.slot[FIELD_RM])
    for k in range(count_of(e, i)):
        if not mask >> k & 1:
            continue
        la: uint64_t = element_address(cpu, i, e, frame.slot[FIELD_RM], k, 1)
        host: cython.pointer(uint8_t) = ram(cpu, la, size, 1)
        if host != cython.NULL:
            # SAFETY: ram() found `size` bytes there
            memcpy(host, data + k * size, size)
        else:
            strikes = False
            check_write(cpu, la, size)
            store(cpu, la, peek_host(data + k * size, size), size)
        if strikes:
            mask &= ~(cython.cast(uint64_t, 1) << k)
            cpu.a.high.opmask[number] = mask
    cpu.a.high.opmask[number] = 0
    next_(cpu, i)
