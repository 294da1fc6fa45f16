"""The software TLB: direct-mapped, one array for each view (supervisor, user, supervisor with
AC set) and for reads and writes, so that SMAP, SMEP and U/S are decided when an entry is filled.

An empty entry holds the tag of another index and so can never match. Every flush starts a new
generation, which makes all entries of the jump cache stale at once, and empties the slots of translated
code. A flush goes through the entries that were filled since the last one, not through the whole TLB.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.x86.state import (
    FILL_LIMIT,
    HOST_JUMPS,
    TLB_ENTRIES,
    TLB_GLOBAL,
    TLB_LARGE,
    CpuP,
    Slot,
    TlbEntry,
    set_jump_key,
)
from cython.cimports.ringfence.core.x86.tlb import empty_slot


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
def age(cpu: CpuP, whose: cython.int) -> cython.void:
    cpu.generations[whose] += 1
    if cpu.generations[whose] & 0x3FF == 0:
        empty_host_jumps(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def new_generation(cpu: CpuP) -> cython.void:
    """Make every jump-cache entry stale."""
    age(cpu, 0)
    age(cpu, 1)
    cpu.is_local_code_seen = 0
    memset(cpu.code_pages, 0, cython.sizeof(cpu.code_pages))
    set_jump_key(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def new_user_generation(cpu: CpuP) -> cython.void:
    """The same after a change that leaves global pages as they are: the supervisor's code is in such."""
    if cpu.is_local_code_seen:
        new_generation(cpu)
    else:
        age(cpu, 1)
        set_jump_key(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def empty_host_jumps(cpu: CpuP) -> cython.void:
    """The generation's low bits come round: no entry of an earlier round may be left."""
    index: uint64_t
    for index in range(HOST_JUMPS):
        # an address that belongs to another entry
        cpu.host_jumps[index].tag = (index ^ 1) << 16


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def empty_slots(cpu: CpuP) -> cython.void:
    """Forget what translated code remembers of the TLB."""
    k: cython.uint
    slot: cython.pointer(Slot)
    for k in range(cpu.slot_count):
        slot = cython.cast(cython.pointer(Slot), cython.cast(uint64_t, cpu.slots[k]))
        empty_slot(cpu, slot)
    cpu.slot_count = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_filled(cpu: CpuP, is_global: cython.int) -> cython.void:
    """Empty the entries filled since the last time: those that are global, or those that are not."""
    entry: cython.pointer(TlbEntry) = cython.address(cpu.tlb[0][0][0])
    count: cython.int = cpu.fill_count[is_global]
    k: cython.int
    number: cython.int
    if count > FILL_LIMIT:
        for number in range(6 * TLB_ENTRIES):
            if (entry[number].page & TLB_GLOBAL != 0) == is_global:
                empty(cython.address(entry[number]), number & (TLB_ENTRIES - 1))
    else:
        for k in range(count):
            number = cpu.fills[is_global][k]
            if (entry[number].page & TLB_GLOBAL != 0) == is_global:
                empty(cython.address(entry[number]), number & (TLB_ENTRIES - 1))
    cpu.fill_count[is_global] = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_tlb(cpu: CpuP, keep_global: cython.bint) -> cython.void:
    """Drop every entry, or every one that is not of a global page."""
    view: cython.int
    index: cython.int
    entry: cython.pointer(TlbEntry)
    flush_filled(cpu, 0)
    if not keep_global:
        flush_filled(cpu, 1)
        memset(cpu.large_regions, 0, cython.sizeof(cpu.large_regions))
    for view in range(2):
        for index in range(256):
            entry = cython.address(cpu.tlb_fetch[view][index])
            if not (keep_global and entry.page & TLB_GLOBAL):
                empty(entry, index)
    empty_slots(cpu)
    cpu.count.tlb_flushes += 1
    if keep_global:
        new_user_generation(cpu)
    else:
        new_generation(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_large(cpu: CpuP, la: uint64_t) -> cython.void:
    """Drop every piece of a large page in the GiB of ``la``."""
    view: cython.int
    index: cython.int
    entry: cython.pointer(TlbEntry)
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


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush_page(cpu: CpuP, la: uint64_t) -> cython.void:
    """INVLPG: drop what maps ``la``; with a large page there, every piece of it."""
    view: cython.int
    page: uint64_t = la >> 12
    has_large: cython.bint = cpu.large_regions[(la >> 36) & 15] >> ((la >> 30) & 63) & 1
    entry: cython.pointer(TlbEntry)
    for view in range(6):
        entry = cython.address(cpu.tlb[0][0][0]) + view * TLB_ENTRIES + (page & (TLB_ENTRIES - 1))
        if entry.tag >> 12 == page:
            empty(entry, page & (TLB_ENTRIES - 1))
    for view in range(2):
        entry = cython.address(cpu.tlb_fetch[view][page & 255])
        if entry.tag >> 12 == page:
            empty(entry, page & 255)
    if has_large:
        flush_large(cpu, la)
    empty_slots(cpu)
    if has_large or cpu.code_pages[(page >> 6) & 63] >> (page & 63) & 1:
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
