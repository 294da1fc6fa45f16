"""Room for translations: a ring of regions, each with its share of the code cache and of records.

When a region is full the next one is emptied and filled: the oldest translations go, the others
stay and nothing waits for a whole cache to be rebuilt. Records lie below 2 GiB, so that code names
them by 32-bit immediates.
"""

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.ringfence.core.host.low_memory import try_map_low
from cython.cimports.ringfence.core.translate.links import drop_translation
from cython.cimports.ringfence.core.translate.translation import (
    REGION_CODE_BYTES,
    REGION_DATA_BYTES,
    REGIONS,
    TRANSLATION_BYTES,
    TRANSLATION_DATA_BYTES,
    TranslationP,
    TranslatorP,
)
from cython.cimports.ringfence.core.x86.state import CpuP
from cython.cimports.ringfence.core.x86.tlb import empty_slots, new_generation


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take(t: TranslatorP, size: uint32_t) -> cython.p_void:
    region = cython.address(t.regions[t.current])
    at: cython.p_void = region.data + region.data_used
    # SAFETY: before a translation starts, more than it can need is known to be left in the region
    region.data_used += (size + 15) & ~cython.cast(uint32_t, 15)
    return at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ensure_room(cpu: CpuP, t: TranslatorP) -> cython.bint:
    region = cython.address(t.regions[t.current])
    if (
        region.code_used + TRANSLATION_BYTES <= REGION_CODE_BYTES
        and region.data_used + TRANSLATION_DATA_BYTES <= REGION_DATA_BYTES
    ):
        return True
    t.current = (t.current + 1) % REGIONS
    region = cython.address(t.regions[t.current])
    if region.data == cython.NULL:
        # SAFETY: a whole new mapping, kept until the translator goes
        region.data = cython.cast(cython.p_uchar, try_map_low(REGION_DATA_BYTES))
        if region.data == cython.NULL:
            # the host has no more: go round with those that there are
            t.current = 0
    evict(cpu, t, t.current)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def evict(cpu: CpuP, t: TranslatorP, number: uint32_t) -> cython.void:
    region = cython.address(t.regions[number])
    translation: TranslationP = region.first
    if translation == cython.NULL:
        return
    while translation != cython.NULL:
        drop_translation(cpu, t, translation)
        translation = translation.region_next
    # the list of slots names records of this region
    empty_slots(cpu)
    region.first = cython.NULL
    region.code_used = 0
    region.data_used = 0
    t.pending = cython.NULL
    t.wants_twin = cython.NULL
    t.count.evicted_regions += 1
    new_generation(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def release(t: TranslatorP, end: uint32_t) -> cython.void:
    region = cython.address(t.regions[t.current])
    used: uint32_t = end - region.code_at
    # the next translation starts on 16 bytes, which the processor fetches best
    region.code_used = (used + 15) & ~cython.cast(uint32_t, 15)
