"""The software TLB: direct-mapped, one array for each view (supervisor, user, supervisor with
AC set) and for reads and writes, so that SMAP, SMEP and U/S are decided when an entry is filled.

An empty entry holds the tag of another index and so can never match. Every flush starts a new
generation, which makes all entries of the jump cache stale at once, and empties the slots of translated code.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.state import (
    JUMP_CACHE_ENTRIES,
    TLB_ENTRIES,
    TLB_GLOBAL,
    TLB_LARGE,
    CpuP,
    Slot,
    TlbEntry,
    set_jump_key,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def empty(entry: cython.pointer(TlbEntry), index: uint64_t) -> cython.void:
    entry.tag = (index ^ 1) << 12
    entry.page = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def new_generation(cpu: CpuP) -> cython.void:
    """Make every jump-cache entry stale."""
    cpu.generation += 1
    cpu.fetch_key = (cpu.generation << 8) | (cpu.mode & 0xFF)
    if cpu.generation & 0x3FF == 0:
        empty_host_jumps(cpu)
    set_jump_key(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def empty_host_jumps(cpu: CpuP) -> cython.void:
    """The generation's low bits come round: no entry of an earlier round may be left."""
    index: uint64_t
    for index in range(JUMP_CACHE_ENTRIES):
        # an address that belongs to another entry
        cpu.host_jumps[index].tag = index ^ 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def empty_slots(cpu: CpuP) -> cython.void:
    """Forget what translated code remembers of the TLB."""
    k: cython.uint
    slot: cython.pointer(Slot)
    for k in range(cpu.slot_count):
        slot = cython.cast(cython.pointer(Slot), cython.cast(uint64_t, cpu.slots[k]))
        # no linear address of an operand lies in the page before the last
        slot.tag = ~cython.cast(uint64_t, 0x1FFF)
        slot.is_listed = 0
    cpu.slot_count = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_tlb(cpu: CpuP, keep_global: cython.bint) -> cython.void:
    """Drop every entry, or every one that is not of a global page."""
    view: cython.int
    index: cython.int
    entry: cython.pointer(TlbEntry)
    for view in range(6):
        entry = cython.address(cpu.tlb[0][0][0]) + view * TLB_ENTRIES
        for index in range(TLB_ENTRIES):
            if not (keep_global and entry[index].page & TLB_GLOBAL):
                empty(cython.address(entry[index]), index)
    for view in range(2):
        for index in range(256):
            entry = cython.address(cpu.tlb_fetch[view][index])
            if not (keep_global and entry.page & TLB_GLOBAL):
                empty(entry, index)
    empty_slots(cpu)
    cpu.count.tlb_flushes += 1
    new_generation(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_page(cpu: CpuP, la: uint64_t) -> cython.void:
    """INVLPG: drop what maps ``la``; with a large page there, every piece of a large page."""
    view: cython.int
    index: cython.int
    page: uint64_t = la >> 12
    has_large: cython.bint = False
    entry: cython.pointer(TlbEntry)
    empty_slots(cpu)
    for view in range(6):
        entry = cython.address(cpu.tlb[0][0][0]) + view * TLB_ENTRIES + (page & (TLB_ENTRIES - 1))
        if entry.tag >> 12 == page:
            has_large = has_large or (entry.page & TLB_LARGE) != 0
            empty(entry, page & (TLB_ENTRIES - 1))
    for view in range(2):
        entry = cython.address(cpu.tlb_fetch[view][page & 255])
        if entry.tag >> 12 == page:
            has_large = has_large or (entry.page & TLB_LARGE) != 0
            empty(entry, page & 255)
    if has_large or cpu.large_pages_seen:
        for view in range(6):
            entry = cython.address(cpu.tlb[0][0][0]) + view * TLB_ENTRIES
            for index in range(TLB_ENTRIES):
                if entry[index].page & TLB_LARGE and (entry[index].tag ^ la) >> 30 == 0:
                    empty(cython.address(entry[index]), index)
        for view in range(2):
            for index in range(256):
                entry = cython.address(cpu.tlb_fetch[view][index])
                if entry.page & TLB_LARGE and (entry.tag ^ la) >> 30 == 0:
                    empty(entry, index)
    new_generation(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_writes(cpu: CpuP, gpa: uint64_t) -> cython.void:
    """Take the page at ``gpa`` out of the write TLB: decoded code lies on it from now on."""
    view: cython.int
    index: cython.int
    entry: cython.pointer(TlbEntry)
    empty_slots(cpu)
    for view in range(3):
        for index in range(TLB_ENTRIES):
            entry = cython.address(cpu.tlb[view][1][index])
            if entry.page & ~cython.cast(uint64_t, 0xFFF) == gpa:
                empty(entry, index)
