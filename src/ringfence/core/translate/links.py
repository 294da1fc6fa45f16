"""Translations by guest address, the jumps between them, and how both go when code is written.

A translation is of one guest-physical address at one RIP in one mode, for RIP-relative addresses and
return addresses are constants in it. A direct exit is linked only within its page, whose mapping it
shares; all others go through the jump cache, which forgets when mappings change.
"""

import cython
from cython.cimports.libc.stdint import int32_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.translate.links import context_of
from cython.cimports.ringfence.core.translate.translation import (
    CANONICAL,
    MODELS,
    PAGE_LISTS,
    TRANSLATION_BUCKETS,
    ExitP,
    TranslationP,
    TranslatorP,
    translator_of,
)
from cython.cimports.ringfence.core.x86.access import fetch_gpa
from cython.cimports.ringfence.core.x86.state import PAGE_BYTES, CpuP
from cython.cimports.ringfence.core.x86.tlb import new_generation


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def bucket(gpa: uint64_t, rip: uint64_t, context: uint32_t) -> uint32_t:
    return (gpa ^ (gpa >> 13) ^ (rip >> 12) * 31 ^ context * 977) & (TRANSLATION_BUCKETS - 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def model(gpa: uint64_t, context: uint32_t) -> uint32_t:
    return (gpa ^ (gpa >> 14) ^ context * 977) & (MODELS - 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def model_of(cpu: CpuP, t: TranslatorP, gpa: uint64_t) -> TranslationP:
    return t.models[model(gpa, context_of(cpu))]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_translation(cpu: CpuP, t: TranslatorP, gpa: uint64_t, rip: uint64_t) -> TranslationP:
    context: uint32_t = context_of(cpu)
    found: TranslationP = t.buckets[bucket(gpa, rip, context)]
    while found != cython.NULL and (
        found.gpa != gpa
        or found.rip != rip
        or found.context != context
        or (found.gpa2 != 0 and found.gpa2 != fetch_gpa(cpu, (rip | 0xFFF) + 1))
    ):
        found = found.hash_next
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def insert_translation(cpu: CpuP, t: TranslatorP, translation: TranslationP) -> cython.void:
    at: uint32_t = bucket(translation.gpa, translation.rip, translation.context)
    exit: ExitP = translation.exits
    if not translation.is_twin:
        translation.hash_next = t.buckets[at]
        t.buckets[at] = translation
        t.models[model(translation.gpa, translation.context)] = translation
    at = (translation.gpa >> 12) & (PAGE_LISTS - 1)
    translation.page_previous = cython.NULL
    translation.page_next = t.pages[at]
    if translation.page_next != cython.NULL:
        translation.page_next.page_previous = translation
    t.pages[at] = translation
    if translation.gpa2:
        at = (translation.gpa2 >> 12) & (PAGE_LISTS - 1)
        translation.page2_next = t.second_pages[at]
        t.second_pages[at] = translation
    translation.region_next = t.regions[translation.region].first
    t.regions[translation.region].first = translation
    while exit != cython.NULL:
        if exit.loop:
            link_exit(t, exit, translation)
        exit = exit.sibling


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def point(t: TranslatorP, field: uint32_t, target: uint32_t) -> cython.void:
    """Make the jump whose rel32 is at ``field`` go to ``target``."""
    # SAFETY: both are offsets of code that this translator emitted
    cython.cast(cython.pointer(int32_t), t.code.writable + field)[0] = target - field - 4


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def link_exit(t: TranslatorP, exit: ExitP, target: TranslationP) -> cython.void:
    if exit.target != cython.NULL:
        return
    if exit.owner.map == target.map:
        point(t, exit.field, exit.loop if exit.loop and exit.owner == target else target.body)
    elif exit.owner.map == CANONICAL:
        point(t, exit.field, target.entry)
    else:
        point(t, exit.convert_field, target.entry)
        point(t, exit.field, exit.convert)
    exit.target = target
    exit.previous = cython.NULL
    exit.next = target.incoming
    if exit.next != cython.NULL:
        exit.next.previous = exit
    target.incoming = exit
    t.count.links += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unlink_exit(t: TranslatorP, exit: ExitP) -> cython.void:
    if exit.target == cython.NULL:
        return
    point(t, exit.field, exit.stub)
    if exit.next != cython.NULL:
        exit.next.previous = exit.previous
    if exit.previous != cython.NULL:
        exit.previous.next = exit.next
    else:
        exit.target.incoming = exit.next
    exit.target = cython.NULL
    t.count.unlinks += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_translation(cpu: CpuP, t: TranslatorP, translation: TranslationP) -> cython.void:
    link: cython.pointer(TranslationP)
    exit: ExitP = translation.exits
    if not translation.is_valid:
        return
    translation.is_valid = 0
    while exit != cython.NULL:
        unlink_exit(t, exit)
        exit = exit.sibling
    while translation.incoming != cython.NULL:
        unlink_exit(t, translation.incoming)
    if translation.is_twin:
        translation.twin.twin = cython.NULL
    else:
        if translation.twin != cython.NULL:
            drop_translation(cpu, t, translation.twin)
        link = cython.address(t.buckets[bucket(translation.gpa, translation.rip, translation.context)])
        while link[0] != translation:
            link = cython.address(link[0].hash_next)
        link[0] = translation.hash_next
        link = cython.address(t.models[model(translation.gpa, translation.context)])
        if link[0] == translation:
            link[0] = cython.NULL
    if translation.page_next != cython.NULL:
        translation.page_next.page_previous = translation.page_previous
    if translation.page_previous != cython.NULL:
        translation.page_previous.page_next = translation.page_next
    else:
        t.pages[(translation.gpa >> 12) & (PAGE_LISTS - 1)] = translation.page_next
    if translation.gpa2:
        link = cython.address(t.second_pages[(translation.gpa2 >> 12) & (PAGE_LISTS - 1)])
        while link[0] != translation:
            link = cython.address(link[0].page2_next)
        link[0] = translation.page2_next


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def translated_written(cpu: CpuP, gpa: uint64_t, size: uint64_t) -> cython.bint:
    """Drop what depends on [gpa, gpa+size), within one page; are translations left on it? A size of 0
    only asks."""
    t: TranslatorP = translator_of(cpu)
    translation: TranslationP = t.pages[(gpa >> 12) & (PAGE_LISTS - 1)]
    following: TranslationP
    offset: uint64_t = gpa & 0xFFF
    remains: cython.bint = False
    before: uint64_t = t.count.invalidated
    while translation != cython.NULL:
        following = translation.page_next
        if translation.gpa >> 12 == gpa >> 12:
            if size and translation.low < offset + size and offset < translation.high:
                drop_translation(cpu, t, translation)
                t.count.invalidated += 1
            else:
                remains = True
        translation = following
    translation = t.second_pages[(gpa >> 12) & (PAGE_LISTS - 1)]
    while translation != cython.NULL:
        following = translation.page2_next
        if translation.gpa2 >> 12 == gpa >> 12:
            if size and offset < translation.high - PAGE_BYTES:
                drop_translation(cpu, t, translation)
                t.count.invalidated += 1
            else:
                remains = True
        translation = following
    if t.count.invalidated != before:
        new_generation(cpu)
    return remains
