"""The inline TLB probe: from a guest's linear address to a host operand, or to a call-out.

One comparison catches a miss and an access that would leave the page: an entry holds the linear
address of its page, and what is left after subtracting it is the offset in the page. A page that
must not be reached this way (code, ROM, devices, breakpoints) is never in the TLB.

    lea   s0, [linear address]
    rorx  s1, s0, 7               ; 32 bytes an entry
    and   s1, (TLB_ENTRIES-1)*32
    sub   s0, [tag + s1]
    cmp   s0, PAGE_BYTES - size   ; or test s0, ~0xFF0 where 16 aligned bytes are wanted
    ja    call-out
    mov   s1, [addend + s1]       ; the operand is [base + s1 + disp]
or  mov   s1, [host_page + s1]    ; ... [s0 + s1]
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.translate.builder import (
    FLAGS_SAVED,
    BuilderP,
    fetch_register,
    is_in_memory,
)
from cython.cimports.ringfence.core.translate.encode import (
    CC_A,
    CC_NE,
    CONTEXT,
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    absolute,
    is_int32,
    memory_operand,
    put8,
    put32,
    put_constant,
    put_forward_branch,
    put_lea,
    put_load,
    put_move,
    put_op,
    put_rr,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.sites import later_site, new_site
from cython.cimports.ringfence.core.translate.translation import IMMEDIATE_ADDRESS, OPERAND_ADDRESS, SITE_MEMORY, SiteP
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    EA_BASE64,
    EA_FLAT32,
    EA_GENERAL,
    PAGE_BYTES,
    TLB_ENTRIES,
    ZERO,
    InstrP,
    TlbEntry,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def can_probe(b: BuilderP) -> cython.bint:
    return b.i.ea_form != EA_GENERAL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def memory_site(b: BuilderP, size: cython.int, is_write: cython.int) -> SiteP:
    site: SiteP = new_site(b, SITE_MEMORY)
    site.retry = cython.cast(uint32_t, b.e.at - b.e.start)
    site.is_write = 1 if is_write else 0
    site.size = size
    site.base = OPERAND_ADDRESS
    return site


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_constant(
    b: BuilderP, la: uint64_t, size: cython.int, is_write: cython.int, base: cython.int
) -> Operand:
    """The entry is known: compare its tag with the page. ``base`` is the call-out's."""
    e: EmitterP = cython.address(b.e)
    array: cython.pointer(TlbEntry) = b.tlb_write if is_write else b.tlb_read
    entry: cython.pointer(TlbEntry) = array + ((la >> 12) & (TLB_ENTRIES - 1))
    page: uint64_t = la & ~cython.cast(uint64_t, 0xFFF)
    tag: Operand = absolute(cython.address(entry.tag))
    site: SiteP = memory_site(b, size, is_write)
    site.base = base
    if is_int32(cython.cast(int64_t, page)):
        put_op(e, FORM_W, 0x81, 7, cython.address(tag))
        put32(e, cython.cast(int64_t, page))
    else:
        put_constant(e, b.s0, page)
        put_op(e, FORM_W, 0x39, b.s0, cython.address(tag))
    later_site(b, put_forward_branch(e, CC_NE), site)
    put_load(e, b.s1, cython.address(entry.host_page))
    return memory_operand(b.s1, NO_REG, 0, la & 0xFFF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_address(b: BuilderP) -> cython.void:
    """s0 = linear address of b.i's memory operand."""
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    form: cython.int = 0 if i.ea_form == EA_FLAT32 else FORM_W
    base: cython.int = NO_REG if i.base == ZERO else cython.cast(cython.int, i.base)
    index: cython.int = NO_REG if i.index == ZERO else cython.cast(cython.int, i.index)
    disp: int64_t = i.disp
    segment: Operand
    if i.base == BLOCK_RIP:
        # only with a segment base or an address of 32 bits
        put_constant(e, b.s0, b.out.rip + cython.cast(uint64_t, disp))
        base = b.s0
        disp = 0
    elif base != NO_REG:
        base = fetch_register(b, base, b.s0)
    if index != NO_REG:
        index = fetch_register(b, index, b.s1)
    if base == NO_REG:
        base = CONTEXT
    put_lea(e, form, b.s0, base, index, i.scale, disp)
    if i.ea_form == EA_BASE64:
        segment = absolute(cython.address(b.cpu.a.seg[i.seg].base))
        put_op(e, FORM_W, 0x03, b.s0, cython.address(segment))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_linear(
    b: BuilderP, base: cython.int, disp: int64_t, size: cython.int, is_write: cython.int, is_aligned: cython.int,
    site: SiteP,
) -> Operand:  # fmt: skip
    """The probe proper: the linear address is in s0. ``base`` + ``disp`` is the same address, or NO_REG."""
    e: EmitterP = cython.address(b.e)
    array: cython.pointer(TlbEntry) = b.tlb_write if is_write else b.tlb_read
    field: Operand
    if b.t.has_bmi2:
        # rorx s1, s0, 7
        put8(e, 0xC4)
        put8(e, 0xE3 ^ ((b.s1 & 8) << 4) ^ ((b.s0 & 8) << 2))
        put8(e, 0xFB)
        put8(e, 0xF0)
        put8(e, 0xC0 | (b.s1 & 7) << 3 | (b.s0 & 7))
        put8(e, 7)
    else:
        put_move(e, b.s1, b.s0)
        put_rr(e, FORM_W, 0xC1, 5, b.s1)
        put8(e, 7)
    put_rr(e, 0, 0x81, 4, b.s1)
    put32(e, (TLB_ENTRIES - 1) * cython.sizeof(TlbEntry))
    field = absolute(cython.address(array.tag))
    field.index = b.s1
    put_op(e, FORM_W, 0x2B, b.s0, cython.address(field))
    if is_aligned:
        put_rr(e, FORM_W, 0xF7, 0, b.s0)
        put32(e, ~cython.cast(int64_t, 0xFFF & ~(is_aligned - 1)))
        later_site(b, put_forward_branch(e, CC_NE), site)
    else:
        put_rr(e, FORM_W, 0x81, 7, b.s0)
        put32(e, PAGE_BYTES - size)
        later_site(b, put_forward_branch(e, CC_A), site)
    if base != NO_REG:
        field = absolute(cython.address(array.addend))
        field.index = b.s1
        put_op(e, FORM_W, 0x8B, b.s1, cython.address(field))
        return memory_operand(base, b.s1, 0, disp)
    field = absolute(cython.address(array.host_page))
    field.index = b.s1
    put_op(e, FORM_W, 0x8B, b.s1, cython.address(field))
    return memory_operand(b.s1, b.s0, 0, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe(b: BuilderP, size: cython.int, is_write: cython.int, is_aligned: cython.int) -> Operand:
    """``is_aligned`` is 0, or the alignment in bytes that the operand must have."""
    i: InstrP = b.i
    site: SiteP
    la: uint64_t
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    if (i.base == BLOCK_RIP or i.base == ZERO) and i.index == ZERO and i.ea_form != EA_BASE64:
        la = cython.cast(uint64_t, cython.cast(int64_t, i.disp))
        if i.base == BLOCK_RIP:
            la += b.out.rip
        if i.ea_form == EA_FLAT32:
            la = cython.cast(uint32_t, la)
        if (la & 0xFFF) + size <= PAGE_BYTES and (not is_aligned or la & (is_aligned - 1) == 0):
            return put_probe_constant(b, la, size, is_write, OPERAND_ADDRESS)
    site = memory_site(b, size, is_write)
    put_address(b)
    if i.ea_form == 0 and i.index == ZERO and i.base < 16 and not is_in_memory(b, i.base):
        return put_probe_linear(b, i.base, i.disp, size, is_write, is_aligned, site)
    return put_probe_linear(b, NO_REG, 0, size, is_write, is_aligned, site)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_at(
    b: BuilderP, base: cython.int, disp: cython.int, size: cython.int, is_write: cython.int
) -> Operand:
    site: SiteP
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    site = memory_site(b, size, is_write)
    site.base = base
    site.disp = disp
    put_lea(cython.address(b.e), FORM_W if b.is_64 else 0, b.s0, base, NO_REG, 0, disp)
    return put_probe_linear(b, base if b.is_64 else NO_REG, disp, size, is_write, 0, site)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_offset(b: BuilderP, la: uint64_t, size: cython.int, is_write: cython.int) -> Operand:
    """An access to the address that the instruction holds as its immediate."""
    site: SiteP
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    if (la & 0xFFF) + size <= PAGE_BYTES:
        return put_probe_constant(b, la, size, is_write, IMMEDIATE_ADDRESS)
    site = memory_site(b, size, is_write)
    site.base = IMMEDIATE_ADDRESS
    put_constant(cython.address(b.e), b.s0, la)
    return put_probe_linear(b, NO_REG, 0, size, is_write, 0, site)
