"""Which two guest registers live in memory: their host registers are scratch.

Only R8 to R15 are candidates, for the others are implicit operands of some instruction. A block takes
the two that it uses least; it keeps to the canonical pair unless another saves several accesses, for
an edge between two maps costs loads and stores. A loop also takes those that it does not use at all.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.translate.builder import HOLDER_LIMIT, BuilderP, guest_register, rip_after
from cython.cimports.ringfence.core.translate.encode import put_load, put_store
from cython.cimports.ringfence.core.translate.lowering import KIND_BRANCH, KIND_JUMP, LoweringP, lowering_of
from cython.cimports.ringfence.core.translate.register_map import GAIN
from cython.cimports.ringfence.core.translate.translation import CANONICAL
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_change(b: BuilderP, old: cython.int, new: cython.int) -> cython.void:
    """Registers from where the map ``old`` has them to where ``new`` has them."""
    reg: cython.int
    for reg in range(8, 16):
        if (new & ~old) >> (reg - 8) & 1:
            put_store(cython.address(b.e), reg, guest_register(b, reg))
    for reg in range(8, 16):
        if (old & ~new) >> (reg - 8) & 1:
            put_load(cython.address(b.e), reg, guest_register(b, reg))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_to_canonical(b: BuilderP) -> cython.void:
    put_change(b, b.out.map, CANONICAL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_from_canonical(b: BuilderP) -> cython.void:
    put_change(b, CANONICAL, b.out.map)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def use_map(b: BuilderP, map: cython.int) -> cython.void:
    reg: cython.int
    b.holder_count = 0
    b.s0 = b.s1 = -1
    b.in_memory = map << 8 if b.is_64 else 0
    for reg in range(8, 16):
        if map >> (reg - 8) & 1:
            if b.s0 < 0:
                b.s0 = reg
            elif b.s1 < 0:
                b.s1 = reg
            else:
                b.holders[b.holder_count] = reg
                b.holder_count += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_turn(b: BuilderP) -> cython.bint:
    """Whether b.i branches to the block's start."""
    kind: cython.int = lowering_of(b.i.entry).kind
    if kind != KIND_BRANCH and kind != KIND_JUMP:
        return False
    return rip_after(b) + cython.cast(uint64_t, b.i.imm) == b.out.rip


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def end_of_loop(b: BuilderP) -> cython.int:
    """The block's last branch to its own start, or -1."""
    k: cython.int
    end: cython.int = -1
    for k in range(b.count):
        b.i = cython.address(b.block.first[k])
        if is_turn(b):
            end = k
    return end


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def choose_map(b: BuilderP) -> cython.int:
    uses: cython.int[16]
    k: cython.int
    first: cython.int = 8
    second: cython.int
    map: cython.int
    spare: cython.int = 0
    i: InstrP
    low: LoweringP
    info: EntryInfoP
    end: cython.int = end_of_loop(b)
    if not b.is_64:
        return CANONICAL
    for k in range(16):
        uses[k] = 0
    # what comes after a loop runs seldom
    for k in range(b.count if end < 0 else end + 1):
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
    map = CANONICAL
    if uses[10] + uses[11] > uses[first] + uses[second] + GAIN:
        map = 1 << (first - 8) | 1 << (second - 8)
    if end >= 0:
        # what a loop does not use can hold TLB entries: entering and leaving it pays once
        for k in range(8, 16):
            if uses[k] == 0 and spare < HOLDER_LIMIT and not map >> (k - 8) & 1:
                map |= 1 << (k - 8)
                spare += 1
    return map
