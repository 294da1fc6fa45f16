"""Copies of translations: much cheaper than translating again.

A translation belongs to one RIP, but a library that address-space randomization puts elsewhere in each
process is the same code on the same guest page. And a kernel that boots again is the same code
altogether.

What is copied are code and records, then every pointer among them is moved, every link cut, and the
code's outside references made anew (`relocation.py`).
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.translate.arena import release, take
from cython.cimports.ringfence.core.translate.links import context_of, insert_translation, model_of, point
from cython.cimports.ringfence.core.translate.relocation import is_low_or_high, relocate
from cython.cimports.ringfence.core.translate.replica import Image, ImageP
from cython.cimports.ringfence.core.translate.routines import ensure_map
from cython.cimports.ringfence.core.translate.slots import SLOT_CREDIT
from cython.cimports.ringfence.core.translate.translation import (
    SITE_EXIT,
    SLOT_RECORD,
    ExitP,
    RelocP,
    SiteP,
    SlotRecord,
    TranslationP,
    TranslatorP,
    end_of_records,
    first_record,
    record_bytes,
)
from cython.cimports.ringfence.core.x86.state import MODE_CODE64, MODE_CODE_MASK, BlockP, CpuP
from cython.cimports.ringfence.core.x86.tlb import empty_slot


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def moved(pointer: cython.p_void, shift: uint64_t) -> cython.p_void:
    """A pointer among the records."""
    if pointer == cython.NULL:
        return cython.NULL
    return cython.cast(cython.p_void, cython.cast(uint64_t, pointer) + shift)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def moved_code(offset: uint32_t, move: uint32_t) -> uint32_t:
    """A code offset, where there is one."""
    return offset + move if offset else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_exit(
    t: TranslatorP, exit: ExitP, out: TranslationP, shift: uint64_t, move: uint32_t, old_rip: uint64_t
) -> cython.bint:
    """False: it would lead to where no code can be."""
    exit.owner = out
    exit.target = cython.NULL
    exit.next = cython.NULL
    exit.previous = cython.NULL
    exit.sibling = cython.cast(ExitP, moved(exit.sibling, shift))
    exit.rip += out.rip - old_rip
    exit.field = moved_code(exit.field, move)
    exit.stub = moved_code(exit.stub, move)
    exit.convert = moved_code(exit.convert, move)
    exit.convert_field = moved_code(exit.convert_field, move)
    exit.loop = moved_code(exit.loop, move)
    if exit.is_local:
        point(t, exit.field, exit.stub)
    if (out.context & MODE_CODE_MASK) == MODE_CODE64:
        return is_low_or_high(exit.rip)
    exit.rip = cython.cast(uint32_t, exit.rip)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_slot(
    cpu: CpuP, slot: cython.pointer(SlotRecord), out: TranslationP, shift: uint64_t, move: uint32_t
) -> cython.void:
    slot.owner = out
    slot.site = cython.cast(SiteP, moved(slot.site, shift))
    slot.direct = moved_code(slot.direct, move)
    slot.judged = 0
    empty_slot(cpu, cython.address(slot.slot))
    slot.given = SLOT_CREDIT
    slot.slot.credit = SLOT_CREDIT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_site(site: SiteP, block: BlockP, out: TranslationP, shift: uint64_t, move: uint32_t) -> cython.void:
    site.owner = out
    site.instr = block.first[site.index]
    site.retry = moved_code(site.retry, move)
    site.resume = moved_code(site.resume, move)
    site.slot = cython.cast(cython.pointer(SlotRecord), moved(site.slot, shift))
    site.place = moved_code(site.place, move)
    site.misses = 0
    site.calls = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_records(
    cpu: CpuP,
    t: TranslatorP,
    out: TranslationP,
    block: BlockP,
    shift: uint64_t,
    move: uint32_t,
    old_rip: uint64_t,
) -> cython.bint:
    at: uint64_t = first_record(out)
    site: SiteP
    k: cython.int
    for k in range(out.count):
        out.offsets[k] += move
    while at < end_of_records(out):
        # SAFETY: what lies there are records one after the other, which the first word tells apart
        site = cython.cast(SiteP, at)
        at += record_bytes(site.kind)
        if site.kind == SITE_EXIT:
            if not move_exit(t, cython.cast(ExitP, site), out, shift, move, old_rip):
                return False
        elif site.kind == SLOT_RECORD:
            move_slot(cpu, cython.cast(cython.pointer(SlotRecord), site), out, shift, move)
        else:
            move_site(site, block, out, shift, move)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_head(
    t: TranslatorP, out: TranslationP, block: BlockP, rip: uint64_t, shift: uint64_t, move: uint32_t
) -> cython.void:
    out.gpa = block.gpa
    out.rip = rip
    out.entry += move
    out.body += move
    out.end += move
    out.is_valid = 1
    out.heat = 0
    out.turns = 0
    out.region = t.current
    out.incoming = cython.NULL
    out.twin = cython.NULL
    out.exits = cython.cast(ExitP, moved(out.exits, shift))
    out.offsets = cython.cast(cython.pointer(uint32_t), moved(out.offsets, shift))
    out.fields = cython.cast(cython.p_ushort, moved(out.fields, shift))
    out.relocs = cython.cast(RelocP, moved(out.relocs, shift))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def replicate(cpu: CpuP, t: TranslatorP, image: ImageP, block: BlockP, rip: uint64_t) -> TranslationP:
    old: TranslationP = image.head
    region = cython.address(t.regions[t.current])
    used: uint32_t = region.data_used
    entry: uint32_t = region.code_at + region.code_used
    code: cython.pointer(uint8_t) = t.code.writable + entry
    out: TranslationP
    shift: uint64_t
    if not old.is_movable or old.count != block.count or old.bytes != block.bytes:
        return cython.NULL
    out = cython.cast(TranslationP, take(t, old.data_bytes))
    # SAFETY: ensure_room() has made sure of more than any translation has
    memcpy(out, old, old.data_bytes)
    memcpy(code, image.code, old.end - old.entry)
    shift = cython.cast(uint64_t, out) - image.data
    move_head(t, out, block, rip, shift, entry - old.entry)
    ensure_map(cpu, t, out.map)
    if not move_records(cpu, t, out, block, shift, entry - old.entry, old.rip) or not relocate(
        cpu, t, out, code, image.data, image.cpu
    ):
        region.data_used = used
        return cython.NULL
    release(t, out.end)
    insert_translation(cpu, t, out)
    t.count.translations += 1
    return out


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def replicate_model(cpu: CpuP, t: TranslatorP, block: BlockP, rip: uint64_t) -> TranslationP:
    image: Image
    found: TranslationP = model_of(cpu, t, block.gpa)
    if found == cython.NULL or found.gpa != block.gpa or found.context != context_of(cpu):
        return cython.NULL
    image.head = found
    image.code = t.code.writable + found.entry
    image.data = cython.cast(uint64_t, found)
    image.cpu = cython.cast(uint64_t, cpu)
    found = replicate(cpu, t, cython.address(image), block, rip)
    if found != cython.NULL:
        t.count.replicas += 1
    return found
