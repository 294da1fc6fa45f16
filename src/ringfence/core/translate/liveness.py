"""Which of the guest's flags something will still read: backwards through the block, and a look ahead
at the code that it branches to.

Only code on the block's own page is looked at, for that page is surely the one mapped there; the
translation then depends on those bytes as on its own. With `exact_flags` whatever may fault or leave
counts as a reader of all flags.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.translate.builder import BuilderP, rip_after
from cython.cimports.ringfence.core.translate.liveness import LOOK_AHEAD, LOOK_DEPTH
from cython.cimports.ringfence.core.translate.lowering import (
    FLAGS_ALL,
    KIND_BRANCH,
    KIND_CALL,
    KIND_COPY,
    KIND_COPY_VEX,
    KIND_JUMP,
    KIND_LEA,
    KIND_LOW_REGISTER,
    KIND_NOP,
    KIND_RAW,
    LOWERING_CONDITIONAL,
    LoweringP,
    lowering_of,
)
from cython.cimports.ringfence.core.x86.blocks import known_block
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import ATTRIBUTE_END
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, BlockP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def killed_by(i: InstrP, low: LoweringP) -> cython.int:
    """Flags that the instruction overwrites whatever its operands are."""
    count: cython.int
    if low.attr & LOWERING_CONDITIONAL and entry_info(i.entry).imm_kind == 1:
        # a shift by an immediate: none by 0
        count = i.imm & (63 if i.width == 3 else 31)
        return low.modifies if count else 0
    return low.kills


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def may_leave(i: InstrP, low: LoweringP) -> cython.bint:
    """Whether a fault or an exit can come from it."""
    if i.attr & INSTR_MEMORY and low.kind != KIND_LEA and low.kind != KIND_NOP:
        return True
    return not (
        low.kind == KIND_COPY
        or low.kind == KIND_COPY_VEX
        or low.kind == KIND_RAW
        or low.kind == KIND_LOW_REGISTER
        or low.kind == KIND_LEA
        or low.kind == KIND_NOP
        or low.kind == KIND_BRANCH
        or low.kind == KIND_JUMP
    )


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def target_of(b: BuilderP, i: InstrP, rip: uint64_t) -> uint64_t:
    """Where a branch in the block at ``rip`` goes; on another page if its operand size is unusual."""
    if i.width != (3 if b.is_64 else 2):
        return ~b.out.rip
    return rip + i.offset + i.length + cython.cast(uint64_t, i.imm)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def live_at(b: BuilderP, rip: uint64_t, depth: cython.int) -> cython.int:
    """Flags live where a branch goes: all, unless the code there is known and on this page. ``depth`` more
    branches are followed."""
    block: BlockP
    i: InstrP
    low: LoweringP
    gpa: uint64_t
    k: cython.int
    live: cython.int = 0
    open_: cython.int = FLAGS_ALL
    end: cython.int
    target: uint64_t
    if (rip ^ b.out.rip) >> 12 or b.t.exact_flags or not b.out.is_linkable:
        return FLAGS_ALL
    gpa = (b.out.gpa & ~cython.cast(uint64_t, 0xFFF)) | (rip & 0xFFF)
    block = known_block(b.cpu, gpa)
    if block == cython.NULL:
        return FLAGS_ALL
    end = gpa & 0xFFF
    for k in range(min(block.count, LOOK_AHEAD)):
        i = cython.address(block.first[k])
        low = lowering_of(i.entry)
        end = (gpa & 0xFFF) + i.offset + i.length
        live |= low.reads & open_
        open_ &= ~killed_by(i, low)
        target = target_of(b, i, rip)
        if low.kind == KIND_BRANCH and open_ and depth:
            live |= live_at(b, target, depth - 1) & open_
        elif low.kind == KIND_JUMP or low.kind == KIND_CALL:
            if open_ and depth:
                open_ &= live_at(b, target, depth - 1)
            break
        elif open_ == 0 or low.kind == KIND_BRANCH:
            break
    if live | open_ != FLAGS_ALL:
        b.out.low = min(b.out.low, gpa & 0xFFF)
        b.out.high = max(b.out.high, end)
    return live | open_


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compute_liveness(b: BuilderP) -> cython.void:
    k: cython.int = b.count - 1
    live: cython.int = FLAGS_ALL
    i: InstrP
    low: LoweringP
    target: uint64_t
    b.i = cython.address(b.block.first[k])
    low = lowering_of(b.i.entry)
    if not entry_info(b.i.entry).attributes & ATTRIBUTE_END:
        live = live_at(b, rip_after(b), LOOK_DEPTH)
    while k >= 0:
        i = cython.address(b.block.first[k])
        b.i = i
        low = lowering_of(i.entry)
        target = target_of(b, i, b.out.rip)
        b.live_taken[k] = 0
        if low.kind == KIND_BRANCH:
            b.live_taken[k] = live_at(b, target, LOOK_DEPTH)
            live |= b.live_taken[k]
        elif low.kind == KIND_JUMP or low.kind == KIND_CALL:
            live = live_at(b, target, LOOK_DEPTH)
        b.live_out[k] = live
        b.kills[k] = killed_by(i, low)
        live = (live & ~b.kills[k]) | low.reads
        if b.t.exact_flags and may_leave(i, low):
            live = FLAGS_ALL
        b.live_in[k] = live
        k -= 1
