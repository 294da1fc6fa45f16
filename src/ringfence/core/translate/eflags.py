"""The system flags without leaving translated code: CLI STI, PUSHF POPF. SDM vol. 2; vol. 3, 6.8.

Each has a quick case and calls out in every other: for #GP, the virtual interrupts of CR4.PVI, a
change of mode (TF, AC), or an interrupt that is waiting for IF.
"""

import cython
from cython.cimports.libc.stdint import uint8_t
from cython.cimports.ringfence.core.translate.branch import put_fall_through, put_shadowed_fall_through
from cython.cimports.ringfence.core.translate.builder import FLAGS_SAVED, BuilderP
from cython.cimports.ringfence.core.translate.encode import (
    CC_E,
    CC_NE,
    FORM_66,
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    absolute,
    join_short,
    put8,
    put32,
    put_forward_branch,
    put_lea,
    put_load32,
    put_move,
    put_op,
    put_rr,
    put_short_branch,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.lowering import FLAGS_ALL
from cython.cimports.ringfence.core.translate.probe import put_probe_at
from cython.cimports.ringfence.core.translate.sites import later_site, new_site
from cython.cimports.ringfence.core.translate.stack import can_stack, put_adjust_stack
from cython.cimports.ringfence.core.translate.translation import SITE_INTERPRET, SITE_LEAVE, SiteP
from cython.cimports.ringfence.core.translate.windows import has_open_window
from cython.cimports.ringfence.core.x86.state import ARITHMETIC, DF, IF_FLAG, RF, RSP, VIEW_USER, VM


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def begin_flags(b: BuilderP) -> cython.void:
    """From here on the host's flags are free."""
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_supervisor(b: BuilderP) -> cython.bint:
    """Whether a translation may be of ring 0. In 64-bit code it is: see can_translate()."""
    return b.cpu.view != VIEW_USER


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_ring_check(b: BuilderP, site: SiteP) -> cython.void:
    """32-bit code of rings 1 and 2 has the supervisor's view too: it calls out."""
    cpl: Operand = absolute(cython.address(b.cpu.a.cpl))
    if not b.is_64:
        put_op(cython.address(b.e), 0, 0x80, 7, cython.address(cpl))
        put8(cython.address(b.e), 0)
        later_site(b, put_forward_branch(cython.address(b.e), CC_NE), site)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_interrupt_check(b: BuilderP, scratch: cython.int, site: SiteP) -> cython.void:
    """Call out if anything waits for IF: has_interrupt() in x86/privilege.pxd. Vectors are -1 for none."""
    e: EmitterP = cython.address(b.e)
    word: Operand = absolute(cython.address(b.cpu.inject_vector))
    put_load32(e, scratch, cython.address(b.cpu.a.lapic.pending))
    put_op(e, 0, 0x23, scratch, cython.address(word))  # and
    word = absolute(cython.address(b.cpu.window_requested))
    put_op(e, 0, 0x2B, scratch, cython.address(word))  # sub
    put_rr(e, 0, 0x83, 7, scratch)  # cmp
    put8(e, -1)
    later_site(b, put_forward_branch(e, CC_NE), site)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_disable_interrupts(b: BuilderP) -> cython.bint:
    site: SiteP
    flags: Operand = absolute(cython.address(b.cpu.a.rflags))
    if not is_supervisor(b):
        return False
    begin_flags(b)
    if not b.is_64:
        site = new_site(b, SITE_INTERPRET)
        site.may_resume = not has_open_window(b)
        put_ring_check(b, site)
    put_op(cython.address(b.e), 0, 0x81, 4, cython.address(flags))
    put32(cython.address(b.e), ~IF_FLAG)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_enable_interrupts(b: BuilderP) -> cython.bint:
    """STI when nothing waits. No interrupt is taken on the way to the next instruction, its shadow: the
    way there looks at no budget, and where it must leave, the run loop is told."""
    flags: Operand = absolute(cython.address(b.cpu.a.rflags))
    site: SiteP
    if not is_supervisor(b):
        return False
    begin_flags(b)
    site = new_site(b, SITE_LEAVE)
    put_ring_check(b, site)
    put_interrupt_check(b, b.s0, site)
    put_op(cython.address(b.e), 0, 0x81, 1, cython.address(flags))
    put32(cython.address(b.e), IF_FLAG)
    put_shadowed_fall_through(b)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_push_flags(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    size: cython.int = 1 << b.i.width
    saved: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), cython.address(b.cpu.saved_flags))
    slot: Operand
    source: Operand
    if not can_stack(b) or size == 2:
        return False
    save_flags(b, FLAGS_ALL)
    slot = put_probe_at(b, RSP, -size, size, 1)
    b.flags = FLAGS_SAVED
    if not b.is_64:
        # both scratch registers name the slot
        put_lea(e, FORM_W, b.s1, b.s1, b.s0, 0, 0)
        slot.base, slot.index = b.s1, NO_REG
    source = absolute(saved)
    put_op(e, 0, 0x1B6, b.s0, cython.address(source))  # movzx: OF
    put_rr(e, 0, 0xC1, 4, b.s0)  # shl
    put8(e, 11)
    source = absolute(saved + 1)
    put_op(e, 0, 0x0A, b.s0, cython.address(source))  # or its low byte, SF ZF AF PF CF
    source = absolute(cython.address(b.cpu.a.rflags))
    put_op(e, 0, 0x0B, b.s0, cython.address(source))
    put_rr(e, 0, 0x81, 4, b.s0)  # and
    put32(e, ~(VM | RF))
    put_op(e, FORM_W if size == 8 else 0, 0x89, b.s0, cython.address(slot))
    put_adjust_stack(b, RSP, -size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_pop_flags(b: BuilderP) -> cython.bint:
    """POPF that changes nothing but arithmetic flags, DF and in ring 0 IF."""
    e: EmitterP = cython.address(b.e)
    size: cython.int = 1 << b.i.width
    quick: cython.int = ARITHMETIC | DF
    site: SiteP
    slot: Operand
    flags: Operand = absolute(cython.address(b.cpu.a.rflags))
    saved: Operand = absolute(cython.address(b.cpu.saved_flags))
    over: cython.pointer(uint8_t)
    if not can_stack(b) or size == 2:
        return False
    if is_supervisor(b):
        quick |= IF_FLAG
    begin_flags(b)
    slot = put_probe_at(b, RSP, 0, size, 0)
    put_op(e, 0, 0x8B, b.s0, cython.address(slot))
    b.is_s1_used = 1
    site = new_site(b, SITE_LEAVE)
    put_move(e, b.s1, b.s0)
    put_op(e, 0, 0x33, b.s1, cython.address(flags))  # xor: what changes
    put_rr(e, 0, 0xF7, 0, b.s1)  # test
    put32(e, ~quick)
    later_site(b, put_forward_branch(e, CC_NE), site)
    if is_supervisor(b):
        put_ring_check(b, site)
        put_rr(e, 0, 0xF7, 0, b.s0)
        put32(e, IF_FLAG)
        over = put_short_branch(e, CC_E)
        put_interrupt_check(b, b.s1, site)
        join_short(e, over)
        put_move(e, b.s1, b.s0)
        put_op(e, 0, 0x33, b.s1, cython.address(flags))
    put_rr(e, 0, 0x81, 4, b.s1)  # and
    put32(e, DF | IF_FLAG)
    put_op(e, 0, 0x31, b.s1, cython.address(flags))
    # SF ZF AF PF CF to the second byte, OF to the first
    put_rr(e, 0, 0x1B6, b.s1, b.s0)
    put_rr(e, 0, 0xC1, 4, b.s1)  # shl
    put8(e, 8)
    put_rr(e, 0, 0xC1, 5, b.s0)  # shr
    put8(e, 11)
    put_rr(e, 0, 0x83, 4, b.s0)  # and
    put8(e, 1)
    put_rr(e, 0, 0x09, b.s0, b.s1)  # or
    put_op(e, FORM_66, 0x89, b.s1, cython.address(saved))
    put_adjust_stack(b, RSP, size)
    put_fall_through(b)
    return True
