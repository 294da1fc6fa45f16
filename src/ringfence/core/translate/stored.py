"""Translations that outlive their run: by what guest code they are found, and how they are kept.

One is good for the same bytes at the same offset in a page, in the same mode: that is what it was made
from, and the bytes are compared, so a hash that collides does no harm. The page's other bytes do not
matter, nor where in memory it is: a kernel that is loaded elsewhere, or whose page was patched beside
the block, finds its translations all the same. CPU model, host and version are for who keeps the bytes
(`vmm/translation_cache.py`).

The store is one array of entries, one behind the other, and is read where it lies.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcmp, memcpy, memset
from cython.cimports.ringfence.core.memory.map import RegionP, find_region
from cython.cimports.ringfence.core.translate.links import context_of
from cython.cimports.ringfence.core.translate.replica import Image, replicate
from cython.cimports.ringfence.core.translate.stored import Stored, StoredP
from cython.cimports.ringfence.core.translate.translation import (
    TRANSLATION_BUCKETS,
    TRANSLATION_BYTES,
    TRANSLATION_DATA_BYTES,
    Translation,
    TranslationP,
    TranslatorP,
    translator_of,
)
from cython.cimports.ringfence.core.x86.state import PAGE_BYTES, BlockP, CpuP

#: runs after which an entry that was not used is left out
AGE_LIMIT = 8


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def padded(size: uint32_t) -> uint32_t:
    return (size + 15) & ~cython.cast(uint32_t, 15)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def code_of(entry: StoredP) -> cython.pointer(uint8_t):
    """The guest code that it was made from."""
    return cython.cast(cython.pointer(uint8_t), entry) + cython.sizeof(Stored)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def head_of(entry: StoredP) -> TranslationP:
    return cython.cast(TranslationP, code_of(entry) + padded(entry.high - entry.low))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hash_of(code: cython.pointer(uint8_t), length: uint32_t, offset: uint32_t, context: uint32_t) -> uint64_t:
    """FNV-1a, 64 bits."""
    k: uint32_t
    found: uint64_t = cython.cast(uint64_t, 0xCBF29CE484222325)
    found ^= offset ^ cython.cast(uint64_t, context) << 16
    for k in range(length):
        found = (found ^ code[k]) * cython.cast(uint64_t, 0x100000001B3)
    return found ^ found >> 29


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def page_at(cpu: CpuP, gpa: uint64_t) -> cython.pointer(uint8_t):
    """The guest page that holds ``gpa``, or NULL."""
    region: RegionP = find_region(cpu.memory, gpa)
    if region == cython.NULL:
        return cython.NULL
    # SAFETY: regions are whole pages
    return region.host + ((gpa - region.gpa) & ~cython.cast(uint64_t, 0xFFF))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_stored(
    t: TranslatorP, page: cython.pointer(uint8_t), offset: uint32_t, length: uint32_t, context: uint32_t
) -> StoredP:
    entry: StoredP
    wanted: uint64_t
    at: uint64_t
    if t.store == cython.NULL or t.exact_flags:
        return cython.NULL
    wanted = hash_of(page + offset, length, offset, context)
    at = wanted & t.store_mask
    while t.store_table[at]:
        # SAFETY: use_store() has seen that the entry is whole
        entry = cython.cast(StoredP, t.store + cython.cast(uint64_t, t.store_table[at] - 1) * 16)
        if (
            entry.hash == wanted
            and entry.offset == offset
            and entry.length == length
            and entry.context == context
            and memcmp(code_of(entry), page + entry.low, entry.high - entry.low) == 0
        ):
            return entry
        at = (at + 1) & t.store_mask
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def replicate_stored(cpu: CpuP, t: TranslatorP, block: BlockP, rip: uint64_t) -> TranslationP:
    image: Image
    found: TranslationP
    page: cython.pointer(uint8_t) = page_at(cpu, block.gpa)
    entry: StoredP
    if page == cython.NULL:
        return cython.NULL
    entry = find_stored(t, page, block.gpa & 0xFFF, block.bytes, context_of(cpu))
    if entry == cython.NULL:
        return cython.NULL
    image.head = head_of(entry)
    image.code = cython.cast(cython.pointer(uint8_t), image.head) + entry.data_bytes
    image.data = entry.data
    image.cpu = entry.cpu
    found = replicate(cpu, t, cython.address(image), block, rip)
    if found != cython.NULL:
        t.count.stored += 1
    return found


@cython.cfunc
@cython.exceptval(check=False)
def is_whole(entry: StoredP, room: uint64_t) -> cython.bint:
    """Whether the sizes fit one another."""
    return (
        room >= cython.sizeof(Stored) + cython.sizeof(Translation)
        and entry.bytes <= room
        and entry.low <= entry.offset
        and entry.offset + entry.length <= entry.high
        and entry.high <= PAGE_BYTES
        and cython.sizeof(Translation) <= entry.data_bytes <= TRANSLATION_DATA_BYTES
        and entry.code_bytes <= TRANSLATION_BYTES
        and entry.bytes == entry_bytes(entry)
        and entry.bytes % 16 == 0
        and entry.data_bytes == head_of(entry).data_bytes
        and entry.code_bytes == head_of(entry).end - head_of(entry).entry
    )


@cython.cfunc
@cython.exceptval(check=False)
def entry_bytes(entry: StoredP) -> uint32_t:
    return (
        cython.sizeof(Stored) + padded(entry.high - entry.low) + entry.data_bytes + padded(entry.code_bytes)
    )


@cython.cfunc
@cython.exceptval(-1, check=False)
def use_store(t: TranslatorP, data: cython.pointer(cython.const[uint8_t]), size: uint64_t) -> cython.bint:
    at: uint64_t = 0
    place: uint64_t
    count: uint64_t = 0
    slots: uint64_t = 16
    entry: StoredP
    forget_store(t)
    while at < size:
        entry = cython.cast(StoredP, data + at)
        if not is_whole(entry, size - at):
            return False
        at += entry.bytes
        count += 1
    while slots < 2 * count:
        slots *= 2
    t.store_table = cython.cast(cython.pointer(uint32_t), calloc(slots, cython.sizeof(uint32_t)))
    if t.store_table == cython.NULL:
        raise MemoryError
    t.store = cython.cast(cython.pointer(uint8_t), data)
    t.store_bytes = size
    t.store_mask = slots - 1
    at = 0
    while at < size:
        entry = cython.cast(StoredP, data + at)
        place = entry.hash & t.store_mask
        while t.store_table[place]:
            place = (place + 1) & t.store_mask
        t.store_table[place] = at // 16 + 1
        at += entry.bytes
    return True


@cython.cfunc
@cython.exceptval(check=False)
def forget_store(t: TranslatorP) -> cython.void:
    free(t.store_table)
    t.store_table = cython.NULL
    t.store = cython.NULL
    t.store_bytes = 0


@cython.cfunc
def entry_of(cpu: CpuP, t: TranslatorP, found: TranslationP, page: cython.pointer(uint8_t)) -> bytes:
    head: Stored
    content: bytearray
    at: cython.pointer(uint8_t)
    memset(cython.address(head), 0, cython.sizeof(Stored))
    head.offset = found.gpa & 0xFFF
    head.length = found.bytes
    head.context = found.context
    head.low = found.low
    head.high = found.high
    head.hash = hash_of(page + head.offset, head.length, head.offset, head.context)
    head.data = cython.cast(uint64_t, found)
    head.cpu = cython.cast(uint64_t, cpu)
    head.data_bytes = found.data_bytes
    head.code_bytes = found.end - found.entry
    head.bytes = entry_bytes(cython.address(head))
    content = bytearray(head.bytes)
    at = content
    # SAFETY: entry_bytes() has counted these four
    memcpy(at, cython.address(head), cython.sizeof(Stored))
    memcpy(code_of(cython.cast(StoredP, at)), page + head.low, head.high - head.low)
    memcpy(head_of(cython.cast(StoredP, at)), found, head.data_bytes)
    memcpy(
        cython.cast(cython.pointer(uint8_t), head_of(cython.cast(StoredP, at))) + head.data_bytes,
        t.code.writable + found.entry, head.code_bytes,
    )  # fmt: skip
    return bytes(content)


@cython.cfunc
def store_translations(cpu: CpuP, limit: uint64_t) -> bytes:
    t: TranslatorP = translator_of(cpu)
    entries: dict = {}
    found: TranslationP
    page: cython.pointer(uint8_t)
    k: cython.int
    size: uint64_t = 0
    if t == cython.NULL or t.exact_flags:
        return b""
    for k in range(TRANSLATION_BUCKETS):
        found = t.buckets[k]
        while found != cython.NULL:
            page = page_at(cpu, found.gpa)
            if found.is_movable and page != cython.NULL and size < limit:
                key = key_of(page, found.low, found.high, found.gpa & 0xFFF, found.bytes, found.context)
                if key not in entries or found.is_hot:
                    entries[key] = entry_of(cpu, t, found, page)
                    size += len(entries[key])
            found = found.hash_next
    return b"".join([*entries.values(), *kept_entries(t, entries, limit - min(size, limit))])


@cython.cfunc
def key_of(
    page: cython.pointer(uint8_t),
    low: uint16_t,
    high: uint16_t,
    offset: uint16_t,
    length: uint16_t,
    context: uint32_t,
) -> tuple:
    # SAFETY: `low` and `high` are offsets in a page
    return cython.cast(cython.p_char, page + low)[: high - low], low, offset, length, context


@cython.cfunc
def kept_entries(t: TranslatorP, known: dict, limit: uint64_t) -> list:
    """Of what was stored before: what this run has not made again, and is not old."""
    kept: list = []
    content: bytearray
    entry: StoredP
    at: uint64_t = 0
    while at < t.store_bytes:
        entry = cython.cast(StoredP, t.store + at)
        at += entry.bytes
        key = key_of(
            code_of(entry) - entry.low, entry.low, entry.high, entry.offset, entry.length, entry.context
        )
        if key in known or entry.age >= AGE_LIMIT or entry.bytes > limit:
            continue
        limit -= entry.bytes
        content = bytearray(cython.cast(cython.p_char, entry)[: entry.bytes])
        cython.cast(StoredP, cython.cast(cython.pointer(uint8_t), content)).age += 1
        kept.append(bytes(content))
    return kept
