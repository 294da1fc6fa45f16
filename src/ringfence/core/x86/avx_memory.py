"""The memory operand of a vector instruction: SDM vol. 1, 15.6.4 and vol. 2, 2.8 (exception classes).

Elements that the opmask leaves out are neither accessed nor do they fault, but where a row says otherwise.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.x86.access import (
    check_write,
    load,
    load_bytes,
    peek_host,
    probe_read,
    probe_write,
    store,
    store_bytes,
)
from cython.cimports.ringfence.core.x86.avx import element_bytes, element_count, opmask
from cython.cimports.ringfence.core.x86.avx_memory import Stores
from cython.cimports.ringfence.core.x86.decode_table import (
    VECTOR_ALIGNED,
    VECTOR_FOLD,
    VECTOR_NO_SUPPRESS,
    EntryInfoP,
)
from cython.cimports.ringfence.core.x86.decode_vector import VEX_B, memory_bytes, opmask_number
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.operands import ea
from cython.cimports.ringfence.core.x86.sse import ConstVector, Vector
from cython.cimports.ringfence.core.x86.state import CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_address(cpu: CpuP, i: InstrP, e: EntryInfoP, size: cython.int, is_write: cython.int) -> uint64_t:
    la: uint64_t = ea(cpu, i, size, is_write)
    if e.vector & VECTOR_ALIGNED and la & (size - 1):
        raise_gp(cpu)
    return la


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enabled(cpu: CpuP, i: InstrP, e: EntryInfoP) -> uint64_t:
    """The opmask's bits that count."""
    mask: uint64_t = opmask(cpu, i)
    count: cython.int = element_count(e, i)
    return mask if count == 64 else mask & ((cython.cast(uint64_t, 1) << count) - 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fold(mask: uint64_t, count: cython.int) -> uint64_t:
    """Of an operand of `count` elements that is repeated: those of which some repetition is enabled."""
    found: uint64_t = 0
    while mask:
        found |= mask & ((cython.cast(uint64_t, 1) << count) - 1)
        mask >>= count
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_elements(
    cpu: CpuP, la: uint64_t, to: Vector, count: cython.int, element: cython.int, mask: uint64_t
) -> cython.void:
    k: cython.int
    host: cython.pointer(uint8_t) = probe_read(cpu, la, count * element)
    if host != cython.NULL:
        # SAFETY: all the elements, those that nobody asked for too, lie in one page of RAM
        memcpy(to, host, count * element)
        return
    for k in range(count):
        if mask >> k & 1:
            value: uint64_t = load(cpu, la + k * element, element)
            memcpy(to + k * element, cython.address(value), element)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_elements(
    cpu: CpuP, la: uint64_t, data: ConstVector, count: cython.int, element: cython.int, mask: uint64_t
) -> cython.void:
    k: cython.int
    host: cython.pointer(uint8_t) = probe_write(cpu, la, count * element)
    if host != cython.NULL:
        for k in range(count):
            if mask >> k & 1:
                # SAFETY: as above, for writing
                memcpy(host + k * element, data + k * element, element)
        return
    check_elements(cpu, la, count, element, mask)
    for k in range(count):
        if mask >> k & 1:
            store(cpu, la + k * element, peek_host(data + k * element, element), element)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def broadcast_element(cpu: CpuP, i: InstrP, e: EntryInfoP, to: Vector) -> cython.void:
    """EVEX.b: one element, repeated."""
    k: cython.int
    size: cython.int = 1 << (e.broadcast - 1)
    value: uint64_t = load(cpu, ea(cpu, i, size, 0), size)
    for k in range(64 // size):
        memcpy(to + k * size, cython.address(value), size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_memory(cpu: CpuP, i: InstrP, e: EntryInfoP, to: Vector) -> cython.void:
    """The operand, at its place in a vector; what is masked off may be anything."""
    size: cython.int = memory_bytes(e, i)
    if opmask_number(i) and not e.vector & VECTOR_NO_SUPPRESS:
        mask: uint64_t = enabled(cpu, i, e)
        if mask == 0:
            return
        if not i.imm & VEX_B:
            count: cython.int = element_count(e, i)
            if e.vector & VECTOR_FOLD:
                count = size // element_bytes(e)
                mask = fold(mask, count)
            load_elements(cpu, vector_address(cpu, i, e, size, 0), to, count, size // count, mask)
            return
    if i.imm & VEX_B:
        broadcast_element(cpu, i, e, to)
    else:
        load_bytes(cpu, vector_address(cpu, i, e, size, 0), to, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_elements(
    cpu: CpuP, la: uint64_t, count: cython.int, element: cython.int, mask: uint64_t
) -> cython.void:
    k: cython.int
    for k in range(count):
        if mask >> k & 1:
            check_write(cpu, la + k * element, element)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stored(cpu: CpuP, i: InstrP, e: EntryInfoP, stores: cython.pointer(Stores)) -> cython.void:
    """What a store writes and where."""
    size: cython.int = memory_bytes(e, i)
    stores.count = 1
    stores.element = size
    stores.mask = 1
    if opmask_number(i):
        if e.vector & VECTOR_NO_SUPPRESS:
            # an extracted part: the opmask is as long as that
            stores.element = element_bytes(e)
            stores.count = size // stores.element
            stores.mask = opmask(cpu, i) & ((1 << stores.count) - 1)
        else:
            stores.count = element_count(e, i)
            stores.element = size // stores.count
            stores.mask = enabled(cpu, i, e)
    if stores.mask or e.vector & VECTOR_NO_SUPPRESS:
        stores.la = vector_address(cpu, i, e, size, 1)
    if e.vector & VECTOR_NO_SUPPRESS:
        check_write(cpu, stores.la, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_store(cpu: CpuP, i: InstrP, e: EntryInfoP) -> cython.void:
    """Fault now if store_memory() would."""
    stores = cython.declare(Stores)
    stored(cpu, i, e, cython.address(stores))
    check_elements(cpu, stores.la, stores.count, stores.element, stores.mask)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_memory(cpu: CpuP, i: InstrP, e: EntryInfoP, data: ConstVector) -> cython.void:
    stores = cython.declare(Stores)
    stored(cpu, i, e, cython.address(stores))
    if stores.count == 1:
        if stores.mask & 1:
            store_bytes(cpu, stores.la, data, stores.element)
    else:
        store_elements(cpu, stores.la, data, stores.count, stores.element, stores.mask)
