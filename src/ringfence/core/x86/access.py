"""Guest memory by linear address: what happens on a TLB miss.

A miss walks the page tables, fills the TLB when the page is plain RAM, and does the access. What
is not plain RAM goes by physical address (physical.py) and is not put in the TLB.
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.memory.map import PAGE_DIRTY, PAGE_HAS_CODE, RegionP, find_region
from cython.cimports.ringfence.core.x86.debug import check_watchpoint
from cython.cimports.ringfence.core.x86.faults import raise_error, raise_page_fault
from cython.cimports.ringfence.core.x86.physical import gpa_load, gpa_store, peek, poke
from cython.cimports.ringfence.core.x86.state import (
    AC,
    AC_VECTOR,
    ACCESS_FETCH,
    ACCESS_READ,
    ACCESS_WRITE,
    CR0_AM,
    CR4_LA57,
    EFER_LMA,
    GP,
    MODE_CODE64,
    MODE_CODE_MASK,
    PAGE_BYTES,
    SS,
    SS_VECTOR,
    TLB_ENTRIES,
    TLB_GLOBAL,
    TLB_LARGE,
    VIEW_CHECKED,
    VIEW_SUPERVISOR,
    CpuP,
    TlbEntry,
)
from cython.cimports.ringfence.core.x86.tlb import note_code, note_fill, note_large
from cython.cimports.ringfence.core.x86.walk import Walk, WalkP, walk

PAGE_MASK = cython.declare(uint64_t, 0xFFF)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_canonical(cpu: CpuP, la: uint64_t) -> cython.bint:
    bits: cython.int = 57 if cpu.a.cr4 & CR4_LA57 else 48
    return cython.cast(int64_t, la << (64 - bits)) >> (64 - bits) == cython.cast(int64_t, la)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def fill_entry(
    cpu: CpuP, la: uint64_t, view: cython.int, access: cython.int, region: RegionP, found: WalkP
) -> cython.void:
    entry: cython.pointer(TlbEntry) = cython.address(cpu.tlb[view][access][(la >> 12) & (TLB_ENTRIES - 1)])
    entry.tag = la & ~PAGE_MASK
    # SAFETY: the host page of a region of guest RAM or ROM (ROM only in the read array)
    entry.host_page = cython.cast(uint64_t, region.host) + (found.gpa - region.gpa)
    entry.addend = entry.host_page - entry.tag
    entry.page = found.gpa | found.attr
    note_fill(cpu, entry, found.attr & TLB_GLOBAL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def page_of(cpu: CpuP, la: uint64_t, access: cython.int, view: cython.int) -> uint64_t:
    """Guest-physical address of ``la``; fills the TLB where the page is plain RAM. May fault."""
    found: Walk
    region: RegionP
    page: uint64_t
    may_write: cython.bint
    if cpu.a.msr.efer & EFER_LMA:
        # compatibility mode too: its tables may lie anywhere, its own addresses are cut already
        if not is_canonical(cpu, la):
            if cpu.current != cython.NULL and cpu.current.seg == SS:
                raise_error(cpu, SS_VECTOR, 0)
            raise_error(cpu, GP, 0)
    else:
        la = cython.cast(uint32_t, la)
    cpu.count.tlb_misses += 1
    if not walk(cpu, la, access, view, cython.address(found)):
        raise_page_fault(cpu, la, found.error)
    if view == VIEW_CHECKED:
        return found.gpa | (la & PAGE_MASK)
    region = find_region(cpu.memory, found.gpa)
    if region != cython.NULL:
        page = (found.gpa - region.gpa) >> 12
        if found.attr & TLB_LARGE:
            note_large(cpu, la)
        # a page that may be written may be read, and one that is dirty already may be written again
        may_write = access == ACCESS_WRITE or found.may_write
        may_write = may_write and not region.is_rom and not region.flags[page] & PAGE_HAS_CODE
        if may_write:
            region.flags[page] |= PAGE_DIRTY
            fill_entry(cpu, la, view, ACCESS_WRITE, region, cython.address(found))
        if access == ACCESS_READ or may_write:
            fill_entry(cpu, la, view, ACCESS_READ, region, cython.address(found))
    return found.gpa | (la & PAGE_MASK)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fetch_gpa(cpu: CpuP, la: uint64_t) -> uint64_t:
    """Guest-physical address of code at ``la``; an instruction-fetch fault is raised."""
    found: Walk
    user: cython.int = cpu.a.cpl == 3
    entry: cython.pointer(TlbEntry)
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        if not is_canonical(cpu, la):
            raise_error(cpu, GP, 0)
    else:
        la = cython.cast(uint32_t, la)
    note_code(cpu, la)
    entry = cython.address(cpu.tlb_fetch[user][(la >> 12) & 255])
    if entry.tag == la & ~PAGE_MASK:
        if not user and not entry.page & TLB_GLOBAL:
            # an entry may be older than the generation
            cpu.is_local_code_seen = 1
        return (entry.page & ~PAGE_MASK) | (la & PAGE_MASK)
    if not walk(cpu, la, ACCESS_FETCH, user, cython.address(found)):
        raise_page_fault(cpu, la, found.error)
    entry.tag = la & ~PAGE_MASK
    entry.page = found.gpa | found.attr
    if not user and not found.attr & TLB_GLOBAL:
        cpu.is_local_code_seen = 1
    if found.attr & TLB_LARGE:
        note_large(cpu, la)
    return found.gpa | (la & PAGE_MASK)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_access(cpu: CpuP, la: uint64_t, size: cython.int, access: cython.int) -> cython.void:
    """The checks of VIEW_CHECKED: alignment at CPL 3, data breakpoints."""
    if cpu.a.cpl == 3 and cpu.a.rflags & AC and cpu.a.cr0 & CR0_AM and la & (size - 1) and size <= 8:
        raise_error(cpu, AC_VECTOR, 0)
    if cpu.has_breakpoints:
        check_watchpoint(cpu, la, size, access)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def next_page(cpu: CpuP, la: uint64_t) -> uint64_t:
    """First byte of the page after the one of ``la``; it wraps at 4 GiB outside 64-bit code."""
    la = (la | PAGE_MASK) + 1
    if la == cython.cast(uint64_t, 1) << 32 and (cpu.mode & MODE_CODE_MASK) != MODE_CODE64:
        return 0
    return la


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_as(cpu: CpuP, la: uint64_t, size: cython.int, view: cython.int) -> uint64_t:
    """A load from a given view of memory, 1 to 8 bytes, page crossing allowed."""
    gpa: uint64_t
    gpa2: uint64_t
    first: cython.int = PAGE_BYTES - (la & PAGE_MASK)
    if view == VIEW_CHECKED:
        check_access(cpu, la, size, ACCESS_READ)
    gpa = page_of(cpu, la, ACCESS_READ, view)
    if first >= size:
        return gpa_load(cpu, gpa, size)
    gpa2 = page_of(cpu, next_page(cpu, la), ACCESS_READ, view)
    return split_load(cpu, gpa, first) | split_load(cpu, gpa2, size - first) << (8 * first)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_load(cpu: CpuP, gpa: uint64_t, size: cython.int) -> uint64_t:
    """A piece of a page-crossing load, byte by byte."""
    value: uint64_t = 0
    k: cython.int
    for k in range(size):
        value |= gpa_load(cpu, gpa + k, 1) << (8 * k)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_as(cpu: CpuP, la: uint64_t, value: uint64_t, size: cython.int, view: cython.int) -> cython.void:
    gpa: uint64_t
    gpa2: uint64_t
    k: cython.int
    first: cython.int = PAGE_BYTES - (la & PAGE_MASK)
    if view == VIEW_CHECKED:
        check_access(cpu, la, size, ACCESS_WRITE)
    gpa = page_of(cpu, la, ACCESS_WRITE, view)
    if first >= size:
        gpa_store(cpu, gpa, value, size)
        return
    gpa2 = page_of(cpu, next_page(cpu, la), ACCESS_WRITE, view)
    for k in range(size):
        gpa_store(cpu, gpa + k if k < first else gpa2 + (k - first), (value >> (8 * k)) & 0xFF, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_slow(cpu: CpuP, la: uint64_t, size: cython.int) -> uint64_t:
    return load_as(cpu, la, size, cpu.view)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_slow(cpu: CpuP, la: uint64_t, value: uint64_t, size: cython.int) -> cython.void:
    store_as(cpu, la, value, size, cpu.view)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_system(cpu: CpuP, la: uint64_t, size: cython.int) -> uint64_t:
    """Descriptor tables and task states: a supervisor's access whatever the CPL."""
    entry: cython.pointer(TlbEntry) = cython.address(cpu.tlb[0][0][(la >> 12) & (TLB_ENTRIES - 1)])
    if la - entry.tag <= cython.cast(uint64_t, PAGE_BYTES - size):
        # SAFETY: a hit in the supervisor's read TLB, and the bytes lie within the page
        return peek(cython.cast(cython.pointer(uint8_t), la + entry.addend), size)
    return load_as(cpu, la, size, VIEW_SUPERVISOR)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_system(cpu: CpuP, la: uint64_t, value: uint64_t, size: cython.int) -> cython.void:
    store_as(cpu, la, value, size, VIEW_SUPERVISOR)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_pages(
    cpu: CpuP, la: uint64_t, size: cython.int, access: cython.int, view: cython.int
) -> cython.void:
    if view == VIEW_CHECKED:
        check_access(cpu, la, size, access)
    page_of(cpu, la, access, view)
    if PAGE_BYTES - (la & PAGE_MASK) < cython.cast(uint64_t, size):
        page_of(cpu, next_page(cpu, la), access, view)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_write(cpu: CpuP, la: uint64_t, size: cython.int) -> cython.void:
    """Fault now if [la, la+size) can't be written."""
    check_pages(cpu, la, size, ACCESS_WRITE, cpu.view)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_read(cpu: CpuP, la: uint64_t, size: cython.int) -> cython.void:
    check_pages(cpu, la, size, ACCESS_READ, cpu.view)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_write_system(cpu: CpuP, la: uint64_t, size: cython.int) -> cython.void:
    check_pages(cpu, la, size, ACCESS_WRITE, VIEW_SUPERVISOR)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_bytes(cpu: CpuP, la: uint64_t, to: cython.pointer(uint8_t), size: cython.int) -> cython.void:
    """A load of any size up to a page; everything is checked before the first byte moves."""
    room: uint64_t = 0
    k: cython.int = 0
    n: cython.int
    host: cython.pointer(uint8_t) = probe(cpu, la, 0, cython.address(room))
    if host != cython.NULL and room >= cython.cast(uint64_t, size):
        # SAFETY: probe() found `room` bytes there, and `size` is no more
        memcpy(to, host, size)
        return
    check_read(cpu, la, size)
    while k < size:
        n = 8 if size - k >= 8 else 1
        poke(to + k, load_slow(cpu, la + k, n), n)
        k += n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_bytes(
    cpu: CpuP, la: uint64_t, data: cython.pointer(cython.const[uint8_t]), size: cython.int
) -> cython.void:
    room: uint64_t = 0
    k: cython.int = 0
    n: cython.int
    host: cython.pointer(uint8_t) = probe(cpu, la, 1, cython.address(room))
    if host != cython.NULL and room >= cython.cast(uint64_t, size):
        # SAFETY: as above, for writing
        memcpy(host, data, size)
        return
    check_write(cpu, la, size)
    while k < size:
        n = 8 if size - k >= 8 else 1
        store_slow(cpu, la + k, peek(cython.cast(cython.pointer(uint8_t), data + k), n), n)
        k += n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe(cpu: CpuP, la: uint64_t, is_write: cython.int, room: cython.pointer(uint64_t)) -> cython.pointer(
    uint8_t
):
    """Host address of ``la`` if it lies in plain RAM, and the bytes left in its page; else NULL.

    Fills the TLB, so it may fault.
    """
    entry: cython.pointer(TlbEntry)
    array: cython.pointer(TlbEntry) = cpu.tlb_write if is_write else cpu.tlb_read
    entry = array + ((la >> 12) & (TLB_ENTRIES - 1))
    if la - entry.tag >= PAGE_BYTES:
        if cpu.view == VIEW_CHECKED:
            return cython.NULL
        page_of(cpu, la, is_write, cpu.view)
        if la - entry.tag >= PAGE_BYTES:
            return cython.NULL
    room[0] = PAGE_BYTES - (la & PAGE_MASK)
    # SAFETY: the entry is of this page; the caller keeps within `room`
    return cython.cast(cython.pointer(uint8_t), la + entry.addend)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rmw_slow(cpu: CpuP, la: uint64_t, size: cython.int) -> cython.pointer(uint8_t):
    """The operand of a read-modify-write, checked for writing: in place, or in the bounce buffer."""
    room: uint64_t = 0
    host: cython.pointer(uint8_t) = probe(cpu, la, 1, cython.address(room))
    if host != cython.NULL and room >= cython.cast(uint64_t, size):
        return host
    check_write(cpu, la, size)
    cpu.saved_result = cpu.a.flag_result
    cpu.saved_carry = cpu.a.flag_carry
    poke(cpu.bounce, load_slow(cpu, la, size), size)
    return cpu.bounce


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rmw_finish(cpu: CpuP, la: uint64_t, size: cython.int) -> cython.void:
    """Write the bounce buffer back.

    The write may leave to the VMM, and the instruction then starts again: it must find the flags
    it found the first time (ADC reads the carry that it also writes).
    """
    flag_result: int64_t = cpu.a.flag_result
    flag_carry: uint64_t = cpu.a.flag_carry
    cpu.a.flag_result = cpu.saved_result
    cpu.a.flag_carry = cpu.saved_carry
    store_slow(cpu, la, peek(cpu.bounce, size), size)
    cpu.a.flag_result = flag_result
    cpu.a.flag_carry = flag_carry
