"""Stacks of other privilege levels: SDM vol. 3, 5.8.5 (stack switching) and 6.12.1, 6.14.2.

Delivering an event, a call through a gate and a far return write or read several slots, any of
which may fault. They work on a `Stack`, a copy of what addressing needs, and commit the stack
pointer when all went well: slots below the old stack pointer are nobody's data.
"""

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load_as, load_system, peek_host, poke_host, store_as
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_TSS32,
    TYPE_TSS32_BUSY,
    Descriptor,
    is_canonical,
    is_code64,
    is_within,
    type_of,
)
from cython.cimports.ringfence.core.x86.segments import raise_selector
from cython.cimports.ringfence.core.x86.stack import Stack, view_at
from cython.cimports.ringfence.core.x86.state import (
    ATTR_DB,
    ATTR_NULL,
    PAGE_BYTES,
    RSP,
    SS,
    SS_VECTOR,
    TLB_ENTRIES,
    TR,
    TS,
    VIEW_SUPERVISOR,
    CpuP,
    Segment,
    TlbEntry,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def width_mask(attr: uint32_t) -> uint64_t:
    return cython.cast(uint64_t, 0xFFFF_FFFF) if attr & ATTR_DB else 0xFFFF


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_current(cpu: CpuP, s: cython.pointer(Stack)) -> cython.void:
    ss: cython.pointer(Segment) = cython.address(cpu.a.seg[SS])
    if is_code64(cpu):
        open_flat(cpu, s, cpu.a.regs[RSP], cpu.a.cpl)
        return
    s.base = ss.base
    s.sp = cpu.a.regs[RSP]
    s.mask = width_mask(ss.attr)
    s.limit = ss.limit
    s.attr = ss.attr
    s.selector = 0
    s.view = view_at(cpu, cpu.a.cpl)
    s.is_flat = False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_inner(
    cpu: CpuP, s: cython.pointer(Stack), d: cython.pointer(cython.const[Descriptor]), sp: uint64_t
) -> cython.void:
    """A more privileged level's stack in the segment `d`: always supervisor accesses."""
    s.base = d.base
    s.sp = sp
    s.mask = width_mask(d.attr)
    s.limit = d.limit
    s.attr = d.attr
    s.selector = d.selector
    s.view = VIEW_SUPERVISOR
    s.is_flat = False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_flat(cpu: CpuP, s: cython.pointer(Stack), rsp: uint64_t, cpl: cython.int) -> cython.void:
    s.base = 0
    s.sp = rsp
    s.mask = cython.cast(uint64_t, -1)
    s.limit = 0
    s.attr = 0
    s.selector = 0
    s.view = view_at(cpu, cpl)
    s.is_flat = True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def slot_address(cpu: CpuP, s: cython.pointer(Stack), offset: uint64_t, size: cython.int) -> uint64_t:
    if s.is_flat:
        if not is_canonical(offset):
            raise_selector(cpu, SS_VECTOR, 0)
        return offset
    if not is_within(s.attr, s.limit, offset, size):
        raise_selector(cpu, SS_VECTOR, s.selector)
    return (s.base + offset) & cython.cast(uint64_t, 0xFFFF_FFFF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def push_on(cpu: CpuP, s: cython.pointer(Stack), value: uint64_t, size: cython.int) -> cython.void:
    offset: uint64_t = (s.sp - size) & s.mask
    la: uint64_t = slot_address(cpu, s, offset, size)
    entry: cython.pointer(TlbEntry) = cython.address(cpu.tlb[s.view][1][(la >> 12) & (TLB_ENTRIES - 1)])
    if la - entry.tag <= cython.cast(uint64_t, PAGE_BYTES - size):
        # SAFETY: a hit in the write TLB, and the slot lies within the page
        poke_host(cython.cast(cython.pointer(uint8_t), la + entry.addend), value, size)
    else:
        store_as(cpu, la, value, size, s.view)
    s.sp = (s.sp & ~s.mask) | offset


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pop_off(cpu: CpuP, s: cython.pointer(Stack), size: cython.int) -> uint64_t:
    offset: uint64_t = s.sp & s.mask
    la: uint64_t = slot_address(cpu, s, offset, size)
    value: uint64_t
    entry: cython.pointer(TlbEntry) = cython.address(cpu.tlb[s.view][0][(la >> 12) & (TLB_ENTRIES - 1)])
    if la - entry.tag <= cython.cast(uint64_t, PAGE_BYTES - size):
        # SAFETY: a hit in the read TLB, and the slot lies within the page
        value = peek_host(cython.cast(cython.pointer(uint8_t), la + entry.addend), size)
    else:
        value = load_as(cpu, la, size, s.view)
    s.sp = (s.sp & ~s.mask) | ((offset + size) & s.mask)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_tss(cpu: CpuP, offset: uint32_t, size: cython.int) -> uint64_t:
    """A field of the current TSS; #TS(TR) when the TSS is too short for it."""
    tr: cython.pointer(Segment) = cython.address(cpu.a.seg[TR])
    if tr.attr & ATTR_NULL or offset + size - 1 > tr.limit:
        raise_selector(cpu, TS, tr.selector)
    return load_system(cpu, tr.base + offset, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_inner_stack(
    cpu: CpuP, cpl: cython.int, ss: cython.pointer(uint32_t), sp: cython.pointer(uint64_t)
) -> cython.void:
    """SSn:SPn of a 16- or 32-bit TSS."""
    kind: cython.int = type_of(cpu.a.seg[TR].attr)
    if kind == TYPE_TSS32 or kind == TYPE_TSS32_BUSY:
        sp[0] = read_tss(cpu, 4 + 8 * cpl, 4)
        ss[0] = cython.cast(uint32_t, read_tss(cpu, 8 + 8 * cpl, 2))
    else:
        sp[0] = read_tss(cpu, 2 + 4 * cpl, 2)
        ss[0] = cython.cast(uint32_t, read_tss(cpu, 4 + 4 * cpl, 2))
