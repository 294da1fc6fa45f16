"""Probe coalescing: one probe for several accesses close to each other.

A probe checks the whole range that the accesses after it will need, and its addend stays in a register:
in s1 until another probe takes that, or in a holder where the block's register map has some. A window
is closed by whatever changes its registers in an unknown way, and by every call-out after which the TLB
may be another. The look ahead only proposes the range; what is emitted is checked again.
"""

import cython
from cython.cimports.libc.stdint import int64_t
from cython.cimports.ringfence.core.translate.builder import (
    WINDOW_LIMIT,
    Access,
    AccessP,
    BuilderP,
    WindowP,
    is_in_memory,
)
from cython.cimports.ringfence.core.translate.encode import (
    FORM_W,
    NO_BASE,
    NO_REG,
    Operand,
    is_int32,
    memory_operand,
    put_lea,
)
from cython.cimports.ringfence.core.translate.lowering import (
    KIND_BRANCH,
    KIND_CALL,
    KIND_CALL_OPERAND,
    KIND_COPY,
    KIND_COPY_VEX,
    KIND_DIVIDE,
    KIND_DIVIDE_SIGNED,
    KIND_LEA,
    KIND_LEAVE_FRAME,
    KIND_LOW_REGISTER,
    KIND_NOP,
    KIND_POP_REGISTER,
    KIND_PUSH_IMMEDIATE,
    KIND_PUSH_OPERAND,
    KIND_PUSH_REGISTER,
    KIND_RAW,
    KIND_RETURN,
    LOWERING_ALIGNED,
    LOWERING_IMPLICIT,
    ROLE_WRITE,
    LoweringP,
    lowering_of,
)
from cython.cimports.ringfence.core.translate.operand import operand_bytes
from cython.cimports.ringfence.core.translate.translation import is_unmerged
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    EA_FLAT64,
    INSTR_MEMORY,
    PAGE_BYTES,
    RDX,
    RSP,
    ZERO,
    InstrP,
)

#: widest range of one window
RANGE_BYTES = cython.declare(int64_t, 1024)
UNKNOWN = cython.declare(int64_t, 1 << 40)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def close_windows(b: BuilderP) -> cython.void:
    k: cython.int
    for k in range(WINDOW_LIMIT):
        b.windows[k].holder = NO_REG


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_open_window(b: BuilderP) -> cython.bint:
    k: cython.int
    for k in range(WINDOW_LIMIT):
        if b.windows[k].holder != NO_REG:
            return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_same_address(window: WindowP, access: AccessP) -> cython.bint:
    return (
        window.base == access.base
        and window.index == access.index
        and (window.index == NO_REG or window.scale == access.scale)
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_window(b: BuilderP, access: AccessP) -> WindowP:
    k: cython.int
    window: WindowP
    at: int64_t
    for k in range(WINDOW_LIMIT):
        window = cython.address(b.windows[k])
        if window.holder == NO_REG or not has_same_address(window, access):
            continue
        at = access.disp + window.moved
        if at < window.low or at + access.size > window.high or access.is_write > window.is_write:
            continue
        if access.alignment and (
            window.alignment < access.alignment or (at - window.low) & (access.alignment - 1)
        ):
            continue
        return window
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def window_operand(b: BuilderP, window: WindowP, access: AccessP) -> Operand:
    if access.index == NO_REG:
        return memory_operand(access.base, window.holder, 0, access.disp)
    put_lea(
        cython.address(b.e), FORM_W, b.s0, NO_BASE if access.base == NO_REG else access.base, access.index,
        access.scale, 0,
    )  # fmt: skip
    return memory_operand(window.holder, b.s0, 0, access.disp)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def access_of(b: BuilderP, i: InstrP, low: LoweringP, access: AccessP) -> cython.int:
    """The one access of ``i`` if a window could serve it: 1; 0 for none, -1 for something else."""
    access.index = NO_REG
    access.scale = 0
    access.alignment = 0
    access.disp = 0
    access.base = RSP
    access.size = 1 << i.width
    access.is_write = 0
    if low.kind == KIND_PUSH_REGISTER or low.kind == KIND_PUSH_IMMEDIATE or low.kind == KIND_CALL:
        access.is_write = 1
        access.disp = -access.size
        return 1
    if low.kind == KIND_POP_REGISTER or low.kind == KIND_RETURN:
        return 1
    if low.kind == KIND_LEAVE_FRAME or low.kind == KIND_PUSH_OPERAND or low.kind == KIND_CALL_OPERAND:
        return -1
    if not i.attr & INSTR_MEMORY or low.kind == KIND_LEA or low.kind == KIND_NOP:
        return 0
    if low.kind != KIND_COPY and low.kind != KIND_COPY_VEX:
        return -1
    if i.ea_form != EA_FLAT64 or i.base == BLOCK_RIP:
        return -1
    if is_in_memory(b, i.base) or is_in_memory(b, i.index) or (i.base == ZERO and i.index == ZERO):
        return -1
    access.base = NO_REG if i.base == ZERO else cython.cast(cython.int, i.base)
    access.index = NO_REG if i.index == ZERO else cython.cast(cython.int, i.index)
    access.scale = i.scale
    access.disp = i.disp
    access.size = operand_bytes(i, low)
    access.is_write = 1 if low.memory & ROLE_WRITE else 0
    if low.attr & LOWERING_ALIGNED:
        access.alignment = access.size
    return 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_comparison(opcode: cython.int) -> cython.bint:
    """CMP and TEST of the accumulator with an immediate."""
    return opcode & 0xFE == 0x3C or opcode & 0xFE == 0xA8


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def change_of(i: InstrP, low: LoweringP, reg: cython.int) -> int64_t:
    """What ``i`` adds to a general register: 0 nothing, UNKNOWN when it can't be told."""
    info: EntryInfoP = entry_info(i.entry)
    size: cython.int = 1 << i.width
    if reg == RSP:
        if low.kind == KIND_PUSH_REGISTER or low.kind == KIND_PUSH_IMMEDIATE or low.kind == KIND_PUSH_OPERAND:
            return -size
        if low.kind == KIND_POP_REGISTER:
            return size if i.vvvv != RSP else UNKNOWN
        if low.kind == KIND_CALL or low.kind == KIND_CALL_OPERAND:
            return -size
        if low.kind == KIND_LEAVE_FRAME or low.kind == KIND_RETURN:
            return UNKNOWN
    if low.kind == KIND_POP_REGISTER:
        return UNKNOWN if i.vvvv == reg else 0
    if low.kind == KIND_LEAVE_FRAME:
        return UNKNOWN if reg == 5 else 0
    if low.kind == KIND_RAW and is_comparison(info.opcode):
        return 0
    if low.kind == KIND_DIVIDE or low.kind == KIND_DIVIDE_SIGNED or low.kind == KIND_RAW:
        return UNKNOWN if reg <= RDX else 0
    if low.attr & LOWERING_IMPLICIT and reg <= RDX:
        return UNKNOWN
    if low.kind == KIND_LEA:
        if i.reg != reg:
            return 0
        return i.disp if i.base == reg and i.index == ZERO and i.width == 3 and i.asize == 8 else UNKNOWN
    if low.kind == KIND_COPY and info.map == 0 and not i.attr & INSTR_MEMORY and i.rm == reg and i.width == 3:
        if info.opcode == 0x83 or info.opcode == 0x81:
            if info.digit == 0:
                return i.imm
            if info.digit == 5:
                return -i.imm
        if info.opcode == 0xFF and (info.digit == 0 or info.digit == 1):
            return 1 - 2 * info.digit
    if low.low & ROLE_WRITE and (i.vvvv >> 3 if info.byte_registers & 4 else i.vvvv) == reg:
        return UNKNOWN
    if low.vvvv & ROLE_WRITE and i.vvvv == reg:
        return UNKNOWN
    if low.reg & ROLE_WRITE and (i.reg >> 3 if info.byte_registers & 1 else i.reg) == reg:
        return UNKNOWN
    if low.rm & ROLE_WRITE and not i.attr & INSTR_MEMORY:
        return UNKNOWN if (i.rm >> 3 if info.byte_registers & 2 else i.rm) == reg else 0
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def moved_by(i: InstrP, low: LoweringP, base: cython.int, index: cython.int, scale: cython.int) -> int64_t:
    """How far an instruction moves base + index << scale, or UNKNOWN."""
    change: int64_t = 0 if base == NO_REG else change_of(i, low, base)
    other: int64_t = 0 if index == NO_REG else change_of(i, low, index)
    return UNKNOWN if change == UNKNOWN or other == UNKNOWN else change + (other << scale)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_followed(low: LoweringP) -> cython.bint:
    """Whether a window can stay open over the instruction: nothing but host code runs for it."""
    return (
        low.kind == KIND_COPY
        or low.kind == KIND_COPY_VEX
        or low.kind == KIND_RAW
        or low.kind == KIND_LOW_REGISTER
        or low.kind == KIND_LEA
        or low.kind == KIND_NOP
        or low.kind == KIND_PUSH_REGISTER
        or low.kind == KIND_PUSH_IMMEDIATE
        or low.kind == KIND_POP_REGISTER
        or low.kind == KIND_BRANCH
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_holder(b: BuilderP) -> cython.int:
    """Number of a window whose register is free, 0 for the one in s1."""
    k: cython.int
    for k in range(1, b.holder_count + 1):
        if b.windows[k].holder == NO_REG:
            return k
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def plan_window(b: BuilderP, access: AccessP) -> WindowP:
    other: Access
    window: WindowP
    k: cython.int
    number: cython.int = free_holder(b)
    members: cython.int = 0
    is_carried: cython.bint = False
    is_write: cython.int = access.is_write
    # hot code that reads and then writes probes once, for writing: nearly always that is allowed
    merges: cython.bint = b.is_hot and not is_unmerged(b.t, b.out.gpa)[0]
    kind: cython.int
    moved: int64_t = 0
    change: int64_t
    at: int64_t
    low: int64_t = access.disp
    high: int64_t = access.disp + access.size
    i: InstrP = b.i
    row: LoweringP = lowering_of(i.entry)
    if not b.has_windows:
        return cython.NULL
    for k in range(b.index, b.count):
        i = cython.address(b.block.first[k])
        row = lowering_of(i.entry)
        if k > b.index:
            kind = access_of(b, i, row, cython.address(other))
            if kind < 0 and number == 0:
                break
            if kind > 0:
                at = other.disp + moved
                if (
                    other.base == access.base and other.index == access.index and other.scale == access.scale
                    and (other.is_write <= access.is_write or merges)
                    and min(low, at) + RANGE_BYTES > max(high, at + other.size)
                    # the probe's LEA has a displacement of 32 bits, also once `low` is aligned
                    and is_int32(min(low, at) - RANGE_BYTES)
                    and (not other.alignment or access.alignment)
                ):  # fmt: skip
                    low = min(low, at)
                    high = max(high, at + other.size)
                    members += 1
                    is_write = is_write or other.is_write
                elif number == 0:
                    break
        if not is_followed(row):
            break
        change = moved_by(i, row, access.base, access.index, access.scale)
        if change == UNKNOWN:
            break
        moved += change
        is_carried = is_carried or (k == b.loop_end and number > 0)
    if members == 0 and not is_carried:
        return cython.NULL
    window = cython.address(b.windows[number])
    window.holder = b.s1 if number == 0 else b.holders[number - 1]
    window.base = access.base
    window.index = access.index
    window.scale = access.scale
    window.is_write = is_write
    window.moved = 0
    window.low = low
    window.high = high
    window.alignment = access.alignment
    if access.alignment:
        window.low = access.disp - (
            (access.disp - low + access.alignment - 1) & ~cython.cast(int64_t, access.alignment - 1)
        )
    return window


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stride_of(b: BuilderP, window: WindowP) -> int64_t:
    k: cython.int
    moved: int64_t = 0
    change: int64_t
    i: InstrP
    for k in range(b.loop_end + 1):
        i = cython.address(b.block.first[k])
        change = moved_by(i, lowering_of(i.entry), window.base, window.index, window.scale)
        if change == UNKNOWN:
            return UNKNOWN
        moved += change
    return moved if moved > -PAGE_BYTES else PAGE_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def follow(b: BuilderP) -> cython.void:
    k: cython.int
    window: WindowP
    change: int64_t
    low: LoweringP = lowering_of(b.i.entry)
    if not is_followed(low):
        close_windows(b)
        return
    for k in range(WINDOW_LIMIT):
        window = cython.address(b.windows[k])
        if window.holder == NO_REG:
            continue
        if window.holder == b.s1 and b.is_s1_used:
            window.holder = NO_REG
            continue
        change = moved_by(b.i, low, window.base, window.index, window.scale)
        if change == UNKNOWN:
            window.holder = NO_REG
        else:
            window.moved += change
