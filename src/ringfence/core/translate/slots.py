"""Probes of hot code: each has a slot that holds the TLB entry it used last.

The slot's address is a constant, so an access need not wait for the TLB's index: on a hit it costs
no latency at all. On a miss the TLB is looked up and the slot filled, out of line. Where that happens
too often (accesses that go from page to page) the probe is patched to do without its slot.

    lea   s0, [address]
    sub   s0, [slot.tag]
    cmp   s0, PAGE_BYTES - size
    ja    miss
    mov   s1, [slot.addend]
"""

import cython
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.translate.arena import take
from cython.cimports.ringfence.core.translate.builder import AccessP, BuilderP, Stub, StubP
from cython.cimports.ringfence.core.translate.encode import (
    CC_A,
    CC_AE,
    CC_NE,
    CC_S,
    FORM_W,
    NO_BASE,
    NO_REG,
    EmitterP,
    Operand,
    absolute,
    join,
    join_short,
    note_field,
    position,
    put8,
    put32,
    put_forward_branch,
    put_jump,
    put_lea,
    put_load,
    put_load32,
    put_op,
    put_rr,
    put_short_branch,
    put_store,
    put_store_imm32,
)
from cython.cimports.ringfence.core.translate.links import drop_translation
from cython.cimports.ringfence.core.translate.probe import put_entry_field, put_lookup
from cython.cimports.ringfence.core.translate.sites import later_site, new_site, new_stub
from cython.cimports.ringfence.core.translate.slots import SLOT_CREDIT, SLOT_CREDIT_LIMIT, SLOT_INSTRUCTIONS
from cython.cimports.ringfence.core.translate.translation import (
    SITE_SLOT,
    SLOT_RECORD,
    SiteP,
    SlotRecord,
    TranslatorP,
    is_slotless,
)
from cython.cimports.ringfence.core.x86.state import INSTR_BYTES, PAGE_BYTES, SLOT_LIMIT, CpuP
from cython.cimports.ringfence.core.x86.tlb import empty_slot, empty_slots, new_generation


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_slot_lookup(
    b: BuilderP, access: AccessP, low: int64_t, size: cython.int, holder: cython.int, site: SiteP
) -> cython.void:
    e: EmitterP = cython.address(b.e)
    stub: StubP
    tag: Operand
    site.slot = cython.cast(cython.pointer(SlotRecord), take(b.t, cython.sizeof(SlotRecord)))
    memset(site.slot, 0, cython.sizeof(SlotRecord))
    site.slot.kind = SLOT_RECORD
    site.slot.owner = b.out
    site.slot.site = site
    empty_slot(b.cpu, cython.address(site.slot.slot))
    site.slot.given = SLOT_CREDIT
    site.slot.slot.credit = SLOT_CREDIT
    tag = absolute(cython.address(site.slot.slot.tag))
    put_op(e, FORM_W, 0x2B, b.s0, cython.address(tag))
    if access.alignment:
        put_rr(e, FORM_W, 0xF7, 0, b.s0)
        put32(e, ~cython.cast(int64_t, 0xFFF & ~(access.alignment - 1)))
        stub = new_stub(b, put_forward_branch(e, CC_NE))
        if access.alignment < size:
            put_rr(e, FORM_W, 0x81, 7, b.s0)
            put32(e, PAGE_BYTES - size)
            stub.second_field = put_forward_branch(e, CC_A)
    else:
        put_rr(e, FORM_W, 0x81, 7, b.s0)
        put32(e, PAGE_BYTES - size)
        stub = new_stub(b, put_forward_branch(e, CC_A))
    stub.has_slot = 1
    stub.site = site
    stub.access = access[0]
    stub.low = low
    stub.size = size
    stub.holder = holder
    if holder != NO_REG:
        put_load(e, holder, cython.address(site.slot.slot.addend))
        b.is_s1_used = 1
    else:
        b.is_s1_used = 1
        if access.index == NO_REG:
            put_load(e, b.s1, cython.address(site.slot.slot.addend))
        else:
            put_load(e, b.s1, cython.address(site.slot.slot.host_page))
    stub.back = e.at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_listing(b: BuilderP, site: SiteP, asks: SiteP) -> cython.void:
    """Put the slot on the list that a flush goes through, unless it is there."""
    e: EmitterP = cython.address(b.e)
    listed: Operand = absolute(cython.address(site.slot.slot.is_listed))
    place: Operand = absolute(cython.address(b.cpu.slots[0]))
    count: Operand = absolute(cython.address(b.cpu.slot_count))
    skip: cython.pointer(uint8_t)
    put_op(e, 0, 0x83, 7, cython.address(listed))
    put8(e, 0)
    skip = put_short_branch(e, CC_NE)
    put_load32(e, b.s0, cython.address(b.cpu.slot_count))
    put_rr(e, 0, 0x81, 7, b.s0)
    put32(e, SLOT_LIMIT)
    later_site(b, put_forward_branch(e, CC_AE), asks)
    place.index = b.s0
    place.scale = 2
    put_op(e, 0, 0xC7, 0, cython.address(place))
    put32(e, cython.cast(int64_t, cython.cast(uint64_t, cython.address(site.slot.slot))))
    note_field(e)
    put_lea(e, 0, b.s0, b.s0, NO_REG, 0, 1)
    put_op(e, 0, 0x89, b.s0, cython.address(count))
    put_store_imm32(e, cython.address(site.slot.slot.is_listed), 1)
    join_short(e, skip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_slot_stub(b: BuilderP, given: StubP) -> cython.void:
    """The miss: fill the slot from the TLB and try again. Behind it the probe without a slot."""
    e: EmitterP = cython.address(b.e)
    stub: Stub = given[0]
    site: SiteP = stub.site
    asks: SiteP
    credit: Operand = absolute(cython.address(site.slot.slot.credit))
    base: cython.int = NO_BASE if stub.access.base == NO_REG else stub.access.base
    is_write: cython.int = stub.access.is_write
    b.i = cython.address(b.block.first[site.index])
    b.index = site.index
    asks = new_site(b, SITE_SLOT)
    asks.retry = site.retry
    asks.slot = site.slot
    if stub.second_field != cython.NULL:
        join(e, stub.second_field)
    put_lea(e, FORM_W, b.s0, base, stub.access.index, stub.access.scale, stub.low)
    put_lookup(b, stub.size, is_write, stub.access.alignment, site)
    put_listing(b, site, asks)
    put_entry_field(b, b.s0, is_write, True)
    put_store(e, b.s0, cython.address(site.slot.slot.addend))
    put_entry_field(b, b.s0, is_write, False)
    put_store(e, b.s0, cython.address(site.slot.slot.host_page))
    # the page's address is the difference
    put_rr_memory(b, site)
    put_op(e, 0, 0x83, 5, cython.address(credit))
    put8(e, 1)
    later_site(b, put_forward_branch(e, CC_S), asks)
    put_jump(e, site.retry)
    site.slot.direct = position(e)
    put_lea(e, FORM_W, b.s0, base, stub.access.index, stub.access.scale, stub.low)
    put_lookup(b, stub.size, is_write, stub.access.alignment, site)
    if stub.holder != NO_REG:
        put_entry_field(b, stub.holder, is_write, True)
    else:
        put_entry_field(b, b.s1, is_write, stub.access.index == NO_REG)
    put_jump(e, cython.cast(uint32_t, stub.back - e.start))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_rr_memory(b: BuilderP, site: SiteP) -> cython.void:
    """slot.tag = host_page - addend; s0 holds host_page."""
    e: EmitterP = cython.address(b.e)
    addend: Operand = absolute(cython.address(site.slot.slot.addend))
    put_op(e, FORM_W, 0x2B, b.s0, cython.address(addend))
    put_store(e, b.s0, cython.address(site.slot.slot.tag))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def judge_slot(cpu: CpuP, t: TranslatorP, asks: SiteP) -> cython.void:
    record: cython.pointer(SlotRecord) = asks.slot
    site: SiteP = record.site
    now: uint64_t
    start: cython.pointer(uint8_t)
    if cpu.slot_count >= SLOT_LIMIT:
        empty_slots(cpu)
    if record.slot.credit >= 0:
        return
    now = cpu.count.instructions + (cpu.budget_size - cpu.budget) / INSTR_BYTES
    if now - record.judged < cython.cast(uint64_t, record.given * SLOT_INSTRUCTIONS):
        # SAFETY: the probe's code, long enough for a jump, and no thread is in it
        start = t.code.writable + site.retry
        start[0] = 0xE9
        cython.cast(cython.pointer(int32_t), start + 1)[0] = cython.cast(
            int32_t, record.direct - site.retry - 5
        )
        # and when the block is next translated, no slot to begin with
        is_slotless(t, site.owner.gpa + site.instr.offset)[0] = 1
        if site.owner.is_valid:
            drop_translation(cpu, t, site.owner)
            new_generation(cpu)
    else:
        # the longer it has been of use, the less often it is asked
        record.given = min(2 * record.given, SLOT_CREDIT_LIMIT)
    record.slot.credit = record.given
    record.judged = now
