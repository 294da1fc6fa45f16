"""The binary translator's run loop: find the translation at RIP, or make it, and enter it.

Code is interpreted until it has proved worth translating, and wherever translated code can't go:
real and virtual-8086 mode, segments that are not flat, data breakpoints, single steps.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.engine.events import begin, between, land, step
from cython.cimports.ringfence.core.engine.translate import HOT_SAMPLES
from cython.cimports.ringfence.core.exits import EXIT_NONE
from cython.cimports.ringfence.core.host.signals import Signals, block_signals, unblock_signals
from cython.cimports.ringfence.core.translate.arena import ensure_room
from cython.cimports.ringfence.core.translate.blocks import HOT, HOT_LOOP, translate_block
from cython.cimports.ringfence.core.translate.callout import export_flags, import_flags, settle_budgets
from cython.cimports.ringfence.core.translate.links import (
    context_of,
    drop_translation,
    find_translation,
    link_exit,
)
from cython.cimports.ringfence.core.translate.replica import replicate_model
from cython.cimports.ringfence.core.translate.routines import enter_translated, reset_vector, save_vector
from cython.cimports.ringfence.core.translate.stored import replicate_stored
from cython.cimports.ringfence.core.translate.translation import (
    SITE_EXIT,
    ExitP,
    SiteP,
    TranslationP,
    TranslatorP,
    translator_of,
)
from cython.cimports.ringfence.core.translate.vector_state import settle_vector
from cython.cimports.ringfence.core.x86.access import fetch_gpa
from cython.cimports.ringfence.core.x86.blocks import enter_block, known_block, lookup_block, note_jump
from cython.cimports.ringfence.core.x86.escape import _setjmp
from cython.cimports.ringfence.core.x86.lapic import lapic_pending
from cython.cimports.ringfence.core.x86.state import (
    CR4_LA57,
    CS,
    MODE_CODE16,
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_PROTECTED,
    VIEW_CHECKED,
    BlockP,
    CpuP,
    HostJump,
    InstrP,
    host_jump_of,
)
from cython.cimports.ringfence.core.x86.tlb import jump_tag_of, new_generation


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def can_translate(cpu: CpuP) -> cython.bint:
    if cpu.view == VIEW_CHECKED or not cpu.mode & MODE_PROTECTED or cpu.a.cr4 & CR4_LA57:
        return False
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        # rings 1 and 2 have the supervisor's view, but not its rights: system.py
        return cpu.a.cpl == 0 or cpu.a.cpl == 3
    return (
        (cpu.mode & MODE_CODE_MASK) != MODE_CODE16
        and cpu.a.seg[CS].base == 0
        and cpu.a.seg[CS].limit == cython.cast(cython.uint, 0xFFFFFFFF)
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def interpret_block(cpu: CpuP, t: TranslatorP, block: BlockP) -> cython.void:
    t.count.interpreted_blocks += 1
    enter_block(cpu, block)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def make_translation(cpu: CpuP, t: TranslatorP, block: BlockP, rip: uint64_t) -> TranslationP:
    found: TranslationP = cython.NULL
    if not block.gpa2:
        ensure_room(cpu, t)
        found = replicate_model(cpu, t, block, rip)
        if found == cython.NULL:
            found = replicate_stored(cpu, t, block, rip)
    if found == cython.NULL:
        found = translate_block(cpu, block, rip, cython.NULL, 0)
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_or_translate(cpu: CpuP, t: TranslatorP) -> TranslationP:
    """The translation at RIP, in the jump cache from now on; NULL after blocks were interpreted instead."""
    rip: uint64_t = cpu.a.rip
    slot: cython.pointer(HostJump)
    block: BlockP = cython.NULL
    found: TranslationP = find_translation(cpu, t, fetch_gpa(cpu, rip), rip)
    if found == cython.NULL:
        block = lookup_block(cpu)
        if block.first[-1].imm >= cpu.heat_limit:
            block.first[-1].imm = cpu.heat_limit
            found = make_translation(cpu, t, block, rip)
        elif block.first[-1].imm == 0 and t.store != cython.NULL and not block.gpa2:
            # what was worth translating before need not wait
            ensure_room(cpu, t)
            found = replicate_stored(cpu, t, block, rip)
            if found != cython.NULL:
                block.first[-1].imm = cpu.heat_limit
    if found == cython.NULL:
        counter: InstrP = block.first - 1
        counter.imm += 1
        # cold blocks that follow one another need not come back here
        note_jump(cpu, counter)
        interpret_block(cpu, t, block)
        return cython.NULL
    slot = cython.address(cpu.host_jumps[host_jump_of(rip)])
    slot.tag = jump_tag_of(cpu, rip)
    slot.host = cython.cast(uint64_t, t.code.executable) + found.entry
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def make_twin(cpu: CpuP, t: TranslatorP) -> cython.void:
    """A translation met accesses that lie across pages: make it a twin that probes each of them."""
    primary: TranslationP = t.wants_twin
    block: BlockP
    t.wants_twin = cython.NULL
    # the interpreter takes what is left of the block this time
    t.interpret_next = 1
    if primary.is_valid and primary.twin == cython.NULL and primary.context == context_of(cpu):
        block = known_block(cpu, primary.gpa)
        if block != cython.NULL and block.count == primary.count and block.bytes == primary.bytes:
            translate_block(cpu, block, primary.rip, primary, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sample(cpu: CpuP, t: TranslatorP, translation: TranslationP, is_turn: cython.bint) -> cython.void:
    """The budget ran out in this translation: translate what is met so again and again as hot code."""
    block: BlockP
    heat: cython.int
    if not translation.is_valid or translation.is_hot or translation.is_twin:
        return
    translation.heat += 1
    translation.turns += is_turn
    if translation.heat < HOT_SAMPLES or translation.context != context_of(cpu):
        return
    translation.heat = 0
    block = known_block(cpu, translation.gpa)
    if block != cython.NULL and block.bytes == translation.bytes:
        t.pending = cython.NULL
        drop_translation(cpu, t, translation)
        new_generation(cpu)
        heat = HOT_LOOP if translation.turns > HOT_SAMPLES / 2 else HOT
        translate_block(cpu, block, translation.rip, cython.NULL, heat)
        t.count.hot += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_block(cpu: CpuP, t: TranslatorP) -> cython.void:
    """From RIP on until translated code leaves, or one interpreted block."""
    rip: uint64_t = cpu.a.rip
    is_over: cython.bint
    evictions: uint64_t
    exit: ExitP = t.pending
    found: TranslationP
    slot: cython.pointer(HostJump)
    t.pending = cython.NULL
    if t.wants_twin != cython.NULL:
        make_twin(cpu, t)
    if not can_translate(cpu):
        block: BlockP = lookup_block(cpu)
        note_jump(cpu, block.first)
        interpret_block(cpu, t, block)
        return
    if t.interpret_next:
        t.interpret_next = 0
        interpret_block(cpu, t, lookup_block(cpu))
        return
    slot = cython.address(cpu.host_jumps[host_jump_of(rip)])
    if slot.tag != jump_tag_of(cpu, rip) or (exit != cython.NULL and exit.is_local):
        evictions = t.count.evicted_regions
        found = find_or_translate(cpu, t)
        if found == cython.NULL:
            return
        if (
            exit != cython.NULL
            and evictions == t.count.evicted_regions
            and exit.is_local
            and exit.rip == rip
            and exit.owner.is_valid
            and exit.owner.context == found.context
            and exit.owner.gpa >> 12 == found.gpa >> 12
        ):
            link_exit(t, exit, found)
    cpu.last_rips[cpu.last_rip_at & 15] = rip
    cpu.last_rip_at += 1
    t.count.entries += 1
    export_flags(cpu)
    t.is_inside = 1
    enter_translated(cpu, t, slot.host)
    is_over = settle_budgets(cpu)
    settle_vector(cpu)
    exit = cython.cast(ExitP, cpu.site)
    if exit.kind == SITE_EXIT:
        cpu.a.rip = exit.rip
        t.pending = exit
    if t.is_inside:
        t.is_inside = 0
        import_flags(cpu)
    if is_over and exit.kind == SITE_EXIT:
        sample(cpu, t, exit.owner, exit.rip == exit.owner.rip)
    elif is_over:
        sample(cpu, t, cython.cast(SiteP, cpu.site).owner, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pass_shadow(cpu: CpuP) -> cython.void:
    """An interrupt shadow matters only if something waits: else the next instruction needs no care."""
    if (
        cpu.a.inhibit_irq
        and not cpu.single
        and not cpu.a.pending_db
        and not cpu.window_requested
        and cpu.inject_vector < 0
        and not cpu.a.nmi_pending
        and not cpu.a.lapic.nmi_pending
        and lapic_pending(cython.address(cpu.a.lapic)) < 0
    ):
        cpu.a.inhibit_irq = 0
        cpu.a.inhibit_db = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def loop(cpu: CpuP, t: TranslatorP) -> cython.int:
    reason: cython.int
    while True:
        reason = between(cpu)
        if reason != EXIT_NONE:
            return reason
        pass_shadow(cpu)
        if cpu.single or cpu.a.inhibit_irq or cpu.replay_count or cpu.debug_steps:
            t.pending = cython.NULL
            reason = step(cpu)
            if reason != EXIT_NONE:
                return reason
        else:
            run_block(cpu, t)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def return_from_long_jump(cpu: CpuP, t: TranslatorP) -> cython.void:
    """Translated code was left from the middle of an instruction."""
    t.pending = cython.NULL
    settle_budgets(cpu)
    if cpu.vector_ready:
        # the call-out has put the guest's registers by, or half of them
        save_vector(cpu, t)
        reset_vector(cpu, t)
    if t.is_inside:
        t.is_inside = 0
        import_flags(cpu)
        cpu.budget -= t.charge


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_translated(cpu: CpuP) -> cython.int:
    landing: cython.int
    reason: cython.int
    t: TranslatorP = translator_of(cpu)
    signals = cython.declare(Signals)
    # translated code has no host stack for a signal handler
    block_signals(cython.address(signals))
    begin(cpu, t.budget)
    landing = _setjmp(cpu.escape)
    reason = EXIT_NONE
    if landing:
        return_from_long_jump(cpu, t)
        reason = land(cpu, landing)
    if reason == EXIT_NONE:
        reason = loop(cpu, t)
    unblock_signals(cython.address(signals))
    cpu.exit.reason = reason
    return reason
