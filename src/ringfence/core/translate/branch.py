"""Branches within the code segment: SDM vol. 1, 6.4 and vol. 2.

A direct branch leaves by an Exit, which is linked to its target once that is translated. An indirect
one looks its target up in the jump cache, whose tags change with the mode and the mappings.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.ringfence.core.translate.builder import (
    FLAGS_IN_HOST,
    FLAGS_SAVED,
    BuilderP,
    guest_register,
    is_in_memory,
    rip_after,
)
from cython.cimports.ringfence.core.translate.encode import (
    CC_NE,
    CC_S,
    FORM_W,
    EmitterP,
    Operand,
    absolute,
    join,
    put8,
    put32,
    put_forward_branch,
    put_load,
    put_move,
    put_op,
    put_rr,
    put_store,
)
from cython.cimports.ringfence.core.translate.flags_state import restore_flags, save_flags
from cython.cimports.ringfence.core.translate.loops import back_exit, end_counted_loop, put_turn
from cython.cimports.ringfence.core.translate.lowering import LoweringP
from cython.cimports.ringfence.core.translate.probe import can_probe, put_probe, put_probe_at
from cython.cimports.ringfence.core.translate.relocation import is_low_or_high
from cython.cimports.ringfence.core.translate.sites import (
    later_exit,
    later_leave,
    new_exit,
    new_site,
    put_charge,
    put_exit,
    put_host_of_jump,
    put_jump_to_host,
    put_way_out,
)
from cython.cimports.ringfence.core.translate.stack import can_stack, put_adjust_stack, put_push_address
from cython.cimports.ringfence.core.translate.translation import SITE_INDIRECT, SiteP
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.state import HOST_JUMP_BITS, HOST_JUMPS, INSTR_MEMORY, RSP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_plain(b: BuilderP) -> cython.bint:
    """A branch of the usual operand size: 64 bits, or 32 outside 64-bit code."""
    return b.i.width == (3 if b.is_64 else 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def target_of(b: BuilderP) -> uint64_t:
    target: uint64_t = rip_after(b) + cython.cast(uint64_t, b.i.imm)
    return target if b.is_64 else target & cython.cast(uint64_t, 0xFFFFFFFF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_reachable(b: BuilderP, target: uint64_t) -> cython.bint:
    """Whether a branch there can't fault; 32-bit code is translated only in flat segments."""
    if b.is_64 and not is_low_or_high(target):
        b.out.is_movable = 0
        return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_branch(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    target: uint64_t = target_of(b)
    condition: cython.int = entry_info(b.i.entry).opcode & 15
    saves: cython.int = 0
    state: cython.int
    over: cython.pointer(uint8_t)
    if not is_plain(b) or not is_reachable(b, target):
        return False
    restore_flags(b, low.reads, 0)
    if b.flags == FLAGS_IN_HOST:
        saves = b.live_taken[b.index]
    if target <= b.out.rip + b.i.offset:
        # backwards: likely taken, so the way there is straight
        over = put_forward_branch(e, condition ^ 1)
        state = b.flags
        save_flags(b, saves)
        if b.is_counted and b.index == b.loop_end:
            put_turn(b)
        else:
            put_exit(b, back_exit(b, target))
        b.flags = state
        join(e, over)
        if b.is_counted and b.index == b.loop_end:
            end_counted_loop(b)
        return True
    later_exit(b, put_forward_branch(e, condition), new_exit(b, target, b.index + 1), saves)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_leave_for(b: BuilderP, target: uint64_t) -> cython.void:
    save_flags(b, b.live_out[b.index])
    if b.is_counted and b.index == b.loop_end:
        put_turn(b)
    else:
        put_exit(b, back_exit(b, target))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_fall_through(b: BuilderP) -> cython.void:
    """After the last instruction of a block that ends without a branch."""
    put_leave_for(b, rip_after(b))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_shadowed_fall_through(b: BuilderP) -> cython.void:
    put_way_out(b, new_exit(b, rip_after(b), b.index + 1), True)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_direct_jump(b: BuilderP) -> cython.bint:
    target: uint64_t = target_of(b)
    if not is_plain(b) or not is_reachable(b, target):
        return False
    put_leave_for(b, target)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_call(b: BuilderP) -> cython.bint:
    target: uint64_t = target_of(b)
    if not is_plain(b) or not is_reachable(b, target) or not put_push_address(b, rip_after(b)):
        return False
    put_leave_for(b, target)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_indirect(b: BuilderP, undo: cython.int) -> cython.void:
    """To the address in s0, flags saved. ``undo`` is what the instruction has added to RSP."""
    e: EmitterP = cython.address(b.e)
    site: SiteP = new_site(b, SITE_INDIRECT)
    tag: Operand = absolute(cython.address(b.cpu.host_jumps[0].tag))
    host: Operand = absolute(cython.address(b.cpu.host_jumps[0].host))
    key: Operand = absolute(cython.address(b.cpu.jump_key))
    site.disp = undo
    put_store(e, b.s0, cython.address(b.cpu.a.rip))
    put_charge(b, b.index + 1)
    later_leave(b, put_forward_branch(e, CC_S), site)
    put_move(e, b.s1, b.s0)
    put_rr(e, FORM_W, 0xC1, 5, b.s1)  # shr
    put8(e, HOST_JUMP_BITS)
    put_rr(e, 0, 0x31, b.s0, b.s1)  # xor
    put_rr(e, 0, 0x81, 4, b.s1)  # and
    put32(e, HOST_JUMPS - 1)
    put_rr(e, 0, 0xC1, 4, b.s1)  # shl
    put8(e, 4)
    put_rr(e, FORM_W, 0xC1, 4, b.s0)  # shl
    put8(e, 16)
    put_op(e, FORM_W, 0x33, b.s0, cython.address(key))
    tag.index = host.index = b.s1
    put_op(e, FORM_W, 0x3B, b.s0, cython.address(tag))
    later_leave(b, put_forward_branch(e, CC_NE), site)
    put_host_of_jump(b, cython.address(host))
    put_jump_to_host(b)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_return_near(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    size: cython.int = 8 if b.is_64 else 4
    slot: Operand
    extra: cython.int = b.i.imm & 0xFFFF if entry_info(b.i.entry).imm_kind else 0
    if not is_plain(b) or not can_stack(b):
        return False
    # there may be no probe to put them by, but a window of a POP's
    save_flags(b, b.live_out[b.index])
    slot = put_probe_at(b, RSP, 0, size, 0)
    put_op(e, FORM_W if b.is_64 else 0, 0x8B, b.s0, cython.address(slot))
    put_adjust_stack(b, RSP, size + extra)
    b.flags = FLAGS_SAVED
    put_indirect(b, size + extra)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_target_operand(b: BuilderP) -> cython.void:
    """s0 = the branch's register or memory operand."""
    e: EmitterP = cython.address(b.e)
    form: cython.int = FORM_W if b.is_64 else 0
    source: Operand
    if b.i.attr & INSTR_MEMORY:
        source = put_probe(b, 8 if b.is_64 else 4, 0, 0)
        put_op(e, form, 0x8B, b.s0, cython.address(source))
    elif is_in_memory(b, b.i.rm):
        put_load(e, b.s0, guest_register(b, b.i.rm))
    else:
        put_rr(e, form, 0x8B, b.s0, b.i.rm)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_jump_operand(b: BuilderP) -> cython.bint:
    if not is_plain(b) or (b.i.attr & INSTR_MEMORY and not can_probe(b)):
        return False
    save_flags(b, b.live_out[b.index])
    put_target_operand(b)
    b.flags = FLAGS_SAVED
    put_indirect(b, 0)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_call_operand(b: BuilderP) -> cython.bint:
    if not is_plain(b) or not can_stack(b) or (b.i.attr & INSTR_MEMORY and not can_probe(b)):
        return False
    save_flags(b, b.live_out[b.index])
    put_target_operand(b)
    b.flags = FLAGS_SAVED
    put_store(cython.address(b.e), b.s0, cython.address(b.cpu.spare[0]))
    put_push_address(b, rip_after(b))
    put_load(cython.address(b.e), b.s0, cython.address(b.cpu.spare[0]))
    put_indirect(b, -8 if b.is_64 else -4)
    return True
