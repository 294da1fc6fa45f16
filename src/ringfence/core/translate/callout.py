"""What translated code calls out for: TLB misses, instructions to interpret, the vector state.

The registers are all in `cpu.a.regs` here and the flags in `cpu.saved_flags`. A fault leaves by a long
jump as from the interpreter: the running instruction is the site's, so RIP is exact.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.translate.links import context_of, drop_translation
from cython.cimports.ringfence.core.translate.lowering import (
    LOWERING_ALIGNED,
    LOWERING_AVX512,
    LoweringP,
    lowering_of,
)
from cython.cimports.ringfence.core.translate.patch import patch_callout
from cython.cimports.ringfence.core.translate.routines import save_vector
from cython.cimports.ringfence.core.translate.sensitive import is_sensitive
from cython.cimports.ringfence.core.translate.slots import judge_slot
from cython.cimports.ringfence.core.translate.translation import (
    CALLOUT_SAMPLES,
    IMMEDIATE_ADDRESS,
    OPERAND_ADDRESS,
    SITE_INTERPRET,
    SITE_LEAVE,
    SITE_MEMORY,
    SITE_SLOT,
    SITE_VECTOR,
    UNMERGED_MISSES,
    SiteP,
    TranslatorP,
    is_unmerged,
    translator_of,
)
from cython.cimports.ringfence.core.translate.vector_state import settle_vector, vector_level
from cython.cimports.ringfence.core.x86.access import page_of
from cython.cimports.ringfence.core.x86.blocks import fall_through
from cython.cimports.ringfence.core.x86.decode_vector import opmask_number
from cython.cimports.ringfence.core.x86.flags import get_rflags, set_arithmetic_flags
from cython.cimports.ringfence.core.x86.operands import ea, next_rip, wrap_rip
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    INSTR_BYTES,
    MODE_CODE64,
    MODE_CODE_MASK,
    PAGE_BYTES,
    TLB_ENTRIES,
    CpuP,
    InstrP,
    TlbEntry,
)
from cython.cimports.ringfence.core.x86.time import guest_ns
from cython.cimports.ringfence.core.x86.tlb import new_generation


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def import_flags(cpu: CpuP) -> cython.void:
    """From translated code's form to the interpreter's."""
    saved: uint64_t = cpu.saved_flags
    set_arithmetic_flags(cpu, ((saved >> 8) & 0xD5) | (saved & 1) << 11)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def settle_budgets(cpu: CpuP) -> cython.bint:
    k: cython.int
    is_over: cython.bint = False
    t: TranslatorP = translator_of(cpu)
    used: cython.int = t.budget
    for k in range(4):
        is_over = is_over or cpu.budgets[k] < 0
        used -= cpu.budgets[k]
    cpu.budget -= used
    t.count.in_place += used / INSTR_BYTES
    refill_budgets(cpu)
    return is_over


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refill_budgets(cpu: CpuP) -> cython.void:
    """One counter in turn gets little, so that each runs out first now and then: samples of where that is
    would else all be of the busiest counter's blocks."""
    k: cython.int
    t: TranslatorP = translator_of(cpu)
    most: cython.int = (t.budget - t.budget / 16) / 3
    for k in range(4):
        cpu.budgets[k] = most
    t.refills = (t.refills + 1) & 3
    cpu.budgets[t.refills] = t.budget - 3 * most


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def export_flags(cpu: CpuP) -> cython.void:
    flags: uint64_t = get_rflags(cpu)
    cpu.saved_flags = (flags & 0xD7) << 8 | (flags >> 11) & 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def completed(cpu: CpuP, i: InstrP) -> cython.void:
    """After the one instruction of a call-out."""
    translator_of(cpu).is_completed = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def address_of(cpu: CpuP, site: SiteP) -> uint64_t:
    la: uint64_t
    if site.base == OPERAND_ADDRESS:
        return ea(cpu, cython.address(site.instr), site.size, site.is_write)
    if site.base == IMMEDIATE_ADDRESS:
        return site.instr.imm
    la = cpu.a.regs[site.base] + site.disp
    return la if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64 else cython.cast(uint32_t, la)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refill(cpu: CpuP, site: SiteP) -> cython.bint:
    """Have the TLB hold the page that the site's probe missed. False: the probe can't do this access."""
    la: uint64_t = address_of(cpu, site)
    attr: cython.int = lowering_of(site.instr.entry).attr
    entry: cython.pointer(TlbEntry) = cpu.tlb_write if site.is_write else cpu.tlb_read
    entry += (la >> 12) & (TLB_ENTRIES - 1)
    if site.span and (la + site.low) >> 12 != (la + site.low + site.span - 1) >> 12:
        return False
    if (la & 0xFFF) + site.size > PAGE_BYTES or la - entry.tag < PAGE_BYTES:
        # crosses a page, or hit and still called out: misaligned
        return False
    if attr & LOWERING_ALIGNED and la & (site.size - 1):
        # #GP, though a walk might find that the page is not there
        return False
    if attr & LOWERING_AVX512 and opmask_number(cython.address(site.instr)):
        # elements that are masked out must not fault: the interpreter goes through the others
        return False
    # a page that is writable and dirty is filled in for writing too
    page_of(cpu, la, 0 if site.reads_first else site.is_write, cpu.view)
    return la - entry.tag < PAGE_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def paid_too_much(cpu: CpuP, site: SiteP) -> cython.int:
    """What a counted loop has taken off the budget for turns that it has not made: loops.py."""
    if not site.is_counted:
        return 0
    turns: cython.int = cython.cast(cython.int, cpu.held[site.owner.counter & 7]) + 1
    return turns * site.owner.turn * INSTR_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_back(cpu: CpuP, t: TranslatorP, site: SiteP) -> cython.void:
    cpu.budget += paid_too_much(cpu, site)
    t.count.in_place -= paid_too_much(cpu, site) / INSTR_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def interpret_site(cpu: CpuP, t: TranslatorP, site: SiteP) -> uint64_t:
    i: InstrP = cython.address(t.pair[0])
    low: LoweringP = lowering_of(site.instr.entry)
    # a fault brings the flags over by itself: see return_from_long_jump()
    uses_flags: cython.bint = site.ends or low.reads | low.modifies != 0
    t.charge = 0
    save_vector(cpu, t)
    if uses_flags:
        import_flags(cpu)
        t.is_inside = 0
    t.pair[0] = site.instr
    t.pair[1].offset = site.instr.offset + site.instr.length
    t.pair[1].fn = fall_through if site.ends else completed
    t.is_completed = 0
    cpu.first = i
    cpu.current = i
    cpu.budget -= site.index * INSTR_BYTES
    t.count.in_place += site.index
    if t.patch_after and site.place and not site.is_counted:
        site.calls += 1
        if site.calls == t.patch_after and site.owner.is_valid and is_sensitive(low.kind):
            patch_callout(cpu, t, site)
    t.rows[site.instr.entry].called[site.kind] += 1
    i.fn(cpu, i)
    cpu.vector_ready = vector_level(cpu) if cpu.vector_ready else 0
    if not t.is_completed:
        return leave(t)
    if (
        cpu.attention
        or not site.may_resume
        or not site.owner.is_valid
        or context_of(cpu) != site.owner.context
        or site.owner.uses_vector > cpu.vector_ready
    ):
        cpu.a.rip = wrap_rip(cpu, next_rip(cpu, i))
        cpu.current = i
        return leave(t)
    cpu.first = cython.NULL
    cpu.budget += site.index * INSTR_BYTES
    # the way out of the block counts them, and this one as if it had been done in place
    t.count.in_place -= site.index + 1
    if uses_flags:
        export_flags(cpu)
    return restore(cpu, t, site, site.resume)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def leave(t: TranslatorP) -> uint64_t:
    return cython.cast(uint64_t, t.code.executable) + t.leave_called


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore(cpu: CpuP, t: TranslatorP, site: SiteP, target: uint32_t) -> uint64_t:
    routine: uint32_t = t.restore_plain[site.owner.map] if t.is_half_saved else t.restore[site.owner.map]
    t.is_half_saved = 0
    t.is_inside = 1
    cpu.jump_target = cython.cast(uint64_t, t.code.executable) + target
    return cython.cast(uint64_t, t.code.executable) + routine


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def callout(cpu: CpuP) -> uint64_t:
    """Answer a call-out; the routine to go on with. One that ends by a long jump is not timed."""
    t: TranslatorP = translator_of(cpu)
    site: SiteP = cython.cast(SiteP, cpu.site)
    target: uint64_t
    asked: uint64_t
    begun: uint64_t
    spent: uint64_t
    t.count.callouts[site.kind] += 1
    t.callouts += 1
    if t.callouts & (CALLOUT_SAMPLES - 1):
        return answer(cpu, t, site)
    asked = guest_ns(cpu)
    begun = guest_ns(cpu)
    target = answer(cpu, t, site)
    # less what it takes to read the clock
    spent = guest_ns(cpu) - begun
    spent -= min(spent, begun - asked)
    t.count.sampled[site.kind] += 1
    t.count.sampled_ns[site.kind] += spent
    if site.kind == SITE_INTERPRET or site.kind == SITE_LEAVE:
        t.rows[site.instr.entry].sampled += 1
        t.rows[site.instr.entry].sampled_ns += spent
    return target


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def answer(cpu: CpuP, t: TranslatorP, site: SiteP) -> uint64_t:
    is_there: cython.bint
    settle_vector(cpu)
    t.is_half_saved = cpu.vector_ready != 0 and t.restore_plain[site.owner.map] != t.restore[site.owner.map]
    cpu.a.regs[BLOCK_RIP] = site.owner.rip
    if site.kind == SITE_VECTOR:
        save_vector(cpu, t)
        cpu.vector_ready = vector_level(cpu)
        if cpu.vector_ready >= site.owner.uses_vector:
            return restore(cpu, t, site, site.resume)
        # the interpreter takes the whole block
        cpu.a.rip = site.owner.rip
        t.interpret_next = 1
        return leave(t)
    if site.kind == SITE_SLOT:
        settle_budgets(cpu)
        judge_slot(cpu, t, site)
        return restore(cpu, t, site, site.retry)
    if site.kind == SITE_MEMORY:
        cpu.first = cython.address(site.instr)
        cpu.current = cpu.first
        t.charge = site.index * INSTR_BYTES - paid_too_much(cpu, site)
        # a page fault leaves from here
        t.count.in_place += t.charge / INSTR_BYTES
        is_there = refill(cpu, site)
        t.count.in_place -= t.charge / INSTR_BYTES
        if is_there:
            cpu.first = cython.NULL
            t.count.refills += 1
            return restore(cpu, t, site, site.retry)
        t.charge = 0
        if site.reads_first:
            site.misses += 1
            if site.misses == UNMERGED_MISSES and site.owner.is_valid:
                is_unmerged(t, site.owner.gpa)[0] = 1
                drop_translation(cpu, t, site.owner)
                new_generation(cpu)
        if site.span:
            # the window does not fit this time: go on without any
            if site.owner.twin != cython.NULL:
                cpu.first = cython.NULL
                take_back(cpu, t, site)
                return restore(cpu, t, site, site.owner.twin.offsets[site.index])
            t.wants_twin = site.owner
    take_back(cpu, t, site)
    return interpret_site(cpu, t, site)
