"""Gather and scatter: SDM vol. 2, VGATHERDPS, VPSCATTERDD and their kin; vol. 1, 14.15 and 15.6.4.

Elements are taken in order, and each that is done is struck off the mask: a fault leaves the instruction
to go on where it was. Before an access that the VMM answers, the registers go back to what they were at
the first such one: the instruction is run again then, and must make the same accesses.
"""

import cython
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86.access import (
    check_read,
    check_write,
    load,
    peek_host,
    poke_host,
    probe,
    store,
)
from cython.cimports.ringfence.core.x86.avx import check_avx, get_vector, opmask, put_vector
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
from cython.cimports.ringfence.core.x86.thunk_vector import VectorFrame, VectorFrameP


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
def put_progress(cpu: CpuP, i: InstrP, e: EntryInfoP, frame: VectorFrameP) -> cython.void:
    """Registers as they are once some elements are done."""
    if e.target == FIELD_REG:
        put_vector(cpu, i.reg, frame.slot[FIELD_REG])
    if e.vex == 1:
        put_vector(cpu, i.vvvv, frame.slot[FIELD_VVVV])
    else:
        cpu.a.high.opmask[opmask_number(i)] = frame.opmask


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_element(
    i: InstrP, e: EntryInfoP, frame: VectorFrameP, k: cython.int, size: cython.int
) -> cython.bint:
    """Strike element `k` off the mask. Whether it was there."""
    if e.vex == 1:
        is_enabled: cython.bint = frame.slot[FIELD_VVVV][k * size + size - 1] & 0x80 != 0
        memset(frame.slot[FIELD_VVVV] + k * size, 0, size)
        return is_enabled
    bit: uint64_t = cython.cast(uint64_t, 1) << k
    is_set: cython.bint = frame.opmask & bit != 0
    frame.opmask &= ~bit
    return is_set


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_elements(
    cpu: CpuP, i: InstrP, e: EntryInfoP, frame: VectorFrameP, is_write: cython.int
) -> cython.void:
    size: cython.int = memory_bytes(e, i)
    data: Vector = frame.slot[FIELD_REG]
    before: VectorFrameP = frame + 1
    length: cython.int = 16 << vector_length(i)
    has_left: cython.bint = False
    k: cython.int
    for k in range(count_of(e, i)):
        restart: VectorFrame = frame[0]
        if take_element(i, e, frame, k, size):
            la: uint64_t = element_address(cpu, i, e, frame.slot[FIELD_RM], k, is_write)
            host: cython.pointer(uint8_t) = ram(cpu, la, size, is_write)
            if host == cython.NULL:
                if is_write:
                    check_write(cpu, la, size)
                else:
                    check_read(cpu, la, size)
                if not has_left:
                    before[0] = restart
                    has_left = True
                put_progress(cpu, i, e, before)
                if is_write:
                    store(cpu, la, peek_host(data + k * size, size), size)
                else:
                    poke_host(data + k * size, load(cpu, la, size), size)
            elif is_write:
                # SAFETY: ram() found `size` bytes there
                memcpy(host, data + k * size, size)
            else:
                memcpy(data + k * size, host, size)
            if not is_write and e.vex == 2:
                # with the first element what lies above the vector length; in the end, what lies below
                memset(data + length, 0, 64 - length)
        put_progress(cpu, i, e, frame)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def gather(cpu: CpuP, i: InstrP) -> cython.void:
    """VEX: vector, memory, mask vector, all three different. EVEX: vector under an opmask, memory."""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    if i.reg == i.rm or (e.vex == 1 and (i.reg == i.vvvv or i.rm == i.vvvv)):
        raise_ud(cpu)
    frame: VectorFrameP = vector_frame(cpu)
    used: cython.int = count_of(e, i) * memory_bytes(e, i)
    get_vector(cpu, i.reg, frame.slot[FIELD_REG])
    get_vector(cpu, i.rm, frame.slot[FIELD_RM])
    get_vector(cpu, i.vvvv & 15, frame.slot[FIELD_VVVV])
    frame.opmask = opmask(cpu, i)
    move_elements(cpu, i, e, frame, 0)
    memset(frame.slot[FIELD_REG] + used, 0, 64 - used)
    memset(frame.slot[FIELD_VVVV], 0, 64)
    frame.opmask = 0
    put_progress(cpu, i, e, frame)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scatter(cpu: CpuP, i: InstrP) -> cython.void:
    """EVEX: memory under an opmask, vector"""
    e: EntryInfoP = entry_info(i.entry)
    check_avx(cpu, e)
    frame: VectorFrameP = vector_frame(cpu)
    get_vector(cpu, i.reg, frame.slot[FIELD_REG])
    get_vector(cpu, i.rm, frame.slot[FIELD_RM])
    frame.opmask = opmask(cpu, i)
    move_elements(cpu, i, e, frame, 1)
    frame.opmask = 0
    put_progress(cpu, i, e, frame)
    next_(cpu, i)
