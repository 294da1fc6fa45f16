"""Counted loops: hot code that branches to its own start runs most of its turns without a probe.

A turn of the block as it stands leaves addends in registers and has checked their pages. Where addresses
move by the same amount every turn, the turns that stay in these pages can be counted beforehand; they
are paid for beforehand too. So a turn of the loop has no check but of its counter:

    loop:   counter = turns until one of the windows leaves its page, LOOP_INSTRUCTIONS at most
            sub   [budget], counter * what a turn costs
            js    undo
            sub   counter, 1
            jb    body
    head:   instructions, the windows open
            sub   counter, 1
            jae   head
            jmp   body                ; a turn with probes

Every way out of the middle gives back what was paid too much: for `counter` + 1 turns.
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.ringfence.core.translate.builder import (
    FLAGS_SAVED,
    WINDOW_LIMIT,
    BuilderP,
    WindowP,
)
from cython.cimports.ringfence.core.translate.encode import (
    CC_AE,
    CC_B,
    CC_S,
    CONTEXT,
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    absolute,
    is_int32,
    join,
    position,
    put8,
    put32,
    put_branch_to,
    put_constant,
    put_forward_branch,
    put_jump,
    put_lea,
    put_move,
    put_op,
    put_rr,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.loops import LOOP_INSTRUCTIONS, STRIDE_BITS
from cython.cimports.ringfence.core.translate.lowering import (
    KIND_BRANCH,
    KIND_COPY,
    KIND_COPY_VEX,
    KIND_DIVIDE,
    KIND_DIVIDE_SIGNED,
    KIND_JUMP,
    KIND_LEA,
    KIND_LOW_REGISTER,
    KIND_NOP,
    KIND_POP_REGISTER,
    KIND_PUSH_IMMEDIATE,
    KIND_PUSH_REGISTER,
    KIND_RAW,
    lowering_of,
)
from cython.cimports.ringfence.core.translate.register_map import is_turn
from cython.cimports.ringfence.core.translate.sites import new_exit
from cython.cimports.ringfence.core.translate.translation import ExitP
from cython.cimports.ringfence.core.translate.windows import close_windows, stride_of
from cython.cimports.ringfence.core.x86.state import INSTR_BYTES, PAGE_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_plain_kind(kind: cython.int) -> cython.bint:
    return (
        kind == KIND_COPY
        or kind == KIND_COPY_VEX
        or kind == KIND_RAW
        or kind == KIND_LOW_REGISTER
        or kind == KIND_LEA
        or kind == KIND_NOP
        or kind == KIND_BRANCH
        or kind == KIND_JUMP
        or kind == KIND_PUSH_REGISTER
        or kind == KIND_PUSH_IMMEDIATE
        or kind == KIND_POP_REGISTER
        or kind == KIND_DIVIDE
        or kind == KIND_DIVIDE_SIGNED
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def first_turn(b: BuilderP) -> cython.int:
    """The block's first branch to its own start, or -1."""
    for b.index in range(b.count):
        b.i = cython.address(b.block.first[b.index])
        if is_turn(b):
            return b.index
    return -1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def plan_loop(b: BuilderP) -> cython.void:
    k: cython.int
    end: cython.int = first_turn(b)
    b.loop_end = -1
    b.is_counted = 0
    b.loop_exit = cython.NULL
    if end < 0 or not b.is_loop or not b.has_windows or b.holder_count == 0 or not b.out.is_linkable:
        return
    for k in range(end + 1):
        if not is_plain_kind(lowering_of(b.block.first[k].entry).kind):
            return
    b.loop_end = end
    b.holder_count -= 1
    b.out.counter = b.holders[b.holder_count]
    b.out.turn = end + 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def back_exit(b: BuilderP, target: uint64_t) -> ExitP:
    exit: ExitP = new_exit(b, target, b.index + 1)
    k: cython.int
    if b.index == b.loop_end and target == b.out.rip:
        b.loop_exit = exit
        for k in range(WINDOW_LIMIT):
            b.loop_windows[k] = b.windows[k]
    return exit


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_bound(b: BuilderP, window: WindowP, stride: int64_t) -> cython.void:
    """The counter is at most the number of turns for which the window stays in its page."""
    e: EmitterP = cython.address(b.e)
    counter: cython.int = b.out.counter
    length: int64_t = stride if stride > 0 else -stride
    shift: cython.int = 0
    # where the range of the turn before started
    put_lea(
        e, FORM_W, b.s0, CONTEXT if window.base == NO_REG else window.base, window.index, window.scale,
        window.low - window.moved,
    )  # fmt: skip
    put_rr(e, 0, 0x81, 4, b.s0)
    put32(e, PAGE_BYTES - 1)
    if stride > 0:
        put_constant(e, b.s1, PAGE_BYTES - (window.high - window.low))
        put_rr(e, FORM_W, 0x2B, b.s1, b.s0)
    else:
        put_move(e, b.s1, b.s0)
    if length & (length - 1):
        # no product of less than 2^12 is rounded up to the next turn
        shift = STRIDE_BITS
        put_rr(e, FORM_W, 0x69, b.s1, b.s1)
        put32(e, (1 << STRIDE_BITS) / length)
    else:
        while length >> shift != 1:
            shift += 1
    if shift:
        put_rr(e, FORM_W, 0xC1, 5, b.s1)
        put8(e, shift)
    put_rr(e, FORM_W, 0x3B, b.s1, counter)
    put_rr(e, FORM_W, 0x142, counter, b.s1)  # cmovb


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_way_in(b: BuilderP) -> cython.pointer(uint8_t):
    """Count, pay, and open the windows; the branch for when the budget is too small for that."""
    e: EmitterP = cython.address(b.e)
    k: cython.int
    stride: int64_t
    undo: cython.pointer(uint8_t)
    window: WindowP
    budget: Operand = absolute(cython.address(b.cpu.budgets[(b.out.rip >> 4) & 3]))
    put_constant(e, b.out.counter, max(1, LOOP_INSTRUCTIONS / b.out.turn))
    close_windows(b)
    for k in range(1, WINDOW_LIMIT):
        window = cython.address(b.loop_windows[k])
        if window.holder == NO_REG or not is_int32(window.low - window.moved):
            continue
        stride = stride_of(b, window)
        if stride >= PAGE_BYTES or (window.alignment and stride & (window.alignment - 1)):
            continue
        if stride:
            put_bound(b, window, stride)
        b.windows[k] = window[0]
        b.windows[k].moved -= stride
    put_rr(e, 0, 0x69, b.s0, b.out.counter)
    put32(e, b.out.turn * INSTR_BYTES)
    put_op(e, 0, 0x29, b.s0, cython.address(budget))
    undo = put_forward_branch(e, CC_S)
    put_rr(e, FORM_W, 0x83, 5, b.out.counter)
    put8(e, 1)
    put_branch_to(e, CC_B, b.out.body)
    b.loop_head = position(e)
    # a place of its own: where the first probe is tried again is no way to the head
    put8(e, 0x90)  # nop
    b.flags = FLAGS_SAVED
    b.is_counted = 1
    return undo


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_undo(b: BuilderP, undo: cython.pointer(uint8_t)) -> cython.void:
    budget: Operand = absolute(cython.address(b.cpu.budgets[(b.out.rip >> 4) & 3]))
    join(cython.address(b.e), undo)
    put_op(cython.address(b.e), 0, 0x01, b.s0, cython.address(budget))
    put_jump(cython.address(b.e), b.out.body)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_refund(b: BuilderP) -> cython.void:
    """The turn that is left half way, and those after it."""
    e: EmitterP = cython.address(b.e)
    budget: Operand = absolute(cython.address(b.cpu.budgets[(b.out.rip >> 4) & 3]))
    put_lea(e, 0, b.s0, b.out.counter, NO_REG, 0, 1)
    put_rr(e, 0, 0x69, b.s0, b.s0)
    put32(e, b.out.turn * INSTR_BYTES)
    put_op(e, 0, 0x01, b.s0, cython.address(budget))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_turn(b: BuilderP) -> cython.void:
    e: EmitterP = cython.address(b.e)
    put_rr(e, FORM_W, 0x83, 5, b.out.counter)
    put8(e, 1)
    put_branch_to(e, CC_AE, b.loop_head)
    put_jump(e, b.out.body)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def end_counted_loop(b: BuilderP) -> cython.void:
    b.is_counted = 0
    save_flags(b, b.live_out[b.index])
    put_refund(b)
    b.flags = FLAGS_SAVED
