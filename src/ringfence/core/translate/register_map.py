"""Which two guest registers live in memory: their host registers are scratch.

Only R8 to R15 are candidates, for the others are implicit operands of some instruction. A block takes
the two that it uses least; it keeps to the canonical pair unless another saves several accesses, for
an edge between two maps costs two loads and two stores.
"""

import cython
from cython.cimports.ringfence.core.translate.builder import BuilderP, guest_register
from cython.cimports.ringfence.core.translate.encode import EmitterP, put_load, put_store
from cython.cimports.ringfence.core.translate.lowering import LoweringP, lowering_of
from cython.cimports.ringfence.core.translate.register_map import GAIN
from cython.cimports.ringfence.core.translate.translation import CANONICAL
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_to_canonical(b: BuilderP) -> cython.void:
    """From the translation's own register map to the canonical one."""
    e: EmitterP = cython.address(b.e)
    first: cython.int = CANONICAL & 15
    second: cython.int = CANONICAL >> 4
    if b.s0 != first and b.s1 != first:
        put_store(e, first, guest_register(b, first))
    if b.s0 != second and b.s1 != second:
        put_store(e, second, guest_register(b, second))
    if b.s0 != first and b.s0 != second:
        put_load(e, b.s0, guest_register(b, b.s0))
    if b.s1 != first and b.s1 != second:
        put_load(e, b.s1, guest_register(b, b.s1))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_from_canonical(b: BuilderP) -> cython.void:
    e: EmitterP = cython.address(b.e)
    first: cython.int = CANONICAL & 15
    second: cython.int = CANONICAL >> 4
    if b.s0 != first and b.s0 != second:
        put_store(e, b.s0, guest_register(b, b.s0))
    if b.s1 != first and b.s1 != second:
        put_store(e, b.s1, guest_register(b, b.s1))
    if b.s0 != first and b.s1 != first:
        put_load(e, first, guest_register(b, first))
    if b.s0 != second and b.s1 != second:
        put_load(e, second, guest_register(b, second))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def use_map(b: BuilderP, map: cython.int) -> cython.void:
    b.s0 = map & 15
    b.s1 = map >> 4
    b.in_memory = 1 << b.s0 | 1 << b.s1 if b.is_64 else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def choose_map(b: BuilderP) -> cython.int:
    uses: cython.int[16]
    k: cython.int
    first: cython.int = 8
    second: cython.int
    i: InstrP
    low: LoweringP
    info: EntryInfoP
    if not b.is_64:
        return CANONICAL
    for k in range(16):
        uses[k] = 0
    for k in range(b.count):
        i = cython.address(b.block.first[k])
        low = lowering_of(i.entry)
        info = entry_info(i.entry)
        if low.reg:
            uses[(i.reg >> 3 if info.byte_registers & 1 else i.reg) & 15] += 1
        if low.rm and not i.attr & INSTR_MEMORY:
            uses[(i.rm >> 3 if info.byte_registers & 2 else i.rm) & 15] += 1
        if low.vvvv or low.low:
            uses[(i.vvvv >> 3 if info.byte_registers & 4 else i.vvvv) & 15] += 1
        if i.base < 16:
            uses[i.base] += 1
        if i.index < 16:
            uses[i.index] += 1
    for k in range(9, 16):
        if uses[k] < uses[first]:
            first = k
    second = 8 if first != 8 else 9
    for k in range(second + 1, 16):
        if k != first and uses[k] < uses[second]:
            second = k
    if uses[CANONICAL & 15] + uses[CANONICAL >> 4] <= uses[first] + uses[second] + GAIN:
        return CANONICAL
    if first < second:
        return first | second << 4
    return second | first << 4
