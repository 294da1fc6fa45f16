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
    Access,
    AccessP,
    BuilderP,
    WindowP,
    fetch_register,
    is_in_memory,
)
from cython.cimports.ringfence.core.translate.encode import (
    CC_A,
    CC_NE,
    FORM_W,
    NO_BASE,
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
    put_move,
    put_op,
    put_rr,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.translate.relocation import (
    RELOC_ADDRESS,
    RELOC_PAGE,
    RELOC_READ_TAG,
    RELOC_WRITE_TAG,
    WIDTH_LOW,
    WIDTH_SIGNED,
    note_reloc,
    put_moving_constant,
    value_of,
)
from cython.cimports.ringfence.core.translate.sites import later_site, new_site
from cython.cimports.ringfence.core.translate.slots import put_slot_lookup
from cython.cimports.ringfence.core.translate.translation import (
    IMMEDIATE_ADDRESS,
    OPERAND_ADDRESS,
    SITE_MEMORY,
    SiteP,
    is_slotless,
)
from cython.cimports.ringfence.core.translate.windows import (
    find_window,
    has_open_window,
    plan_window,
    window_operand,
)
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    EA_BASE64,
    EA_FLAT32,
    EA_FLAT64,
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
    site.may_resume = site.may_resume and not has_open_window(b)
    return site


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_constant(
    b: BuilderP, la: uint64_t, size: cython.int, is_write: cython.int, base: cython.int
) -> Operand:
    """The entry is known: compare its tag with the page. ``base`` is the call-out's."""
    e: EmitterP = cython.address(b.e)
    kind: cython.int = RELOC_WRITE_TAG if is_write else RELOC_READ_TAG
    page: uint64_t = la & ~cython.cast(uint64_t, 0xFFF)
    tag: Operand = absolute(cython.cast(cython.p_void, value_of(b.cpu, kind, la)))
    host_page: Operand = absolute(cython.cast(cython.p_void, value_of(b.cpu, kind + 1, la)))
    moves: cython.bint = b.i.base == BLOCK_RIP and base == OPERAND_ADDRESS
    site: SiteP = memory_site(b, size, is_write)
    site.base = base
    if is_int32(cython.cast(int64_t, page)):
        put_op(e, FORM_W, 0x81, 7, cython.address(tag))
        if moves:
            note_reloc(b, kind, WIDTH_LOW, la)
        put32(e, cython.cast(int64_t, page))
        if moves:
            note_reloc(b, RELOC_PAGE, WIDTH_SIGNED, la)
    else:
        if moves:
            put_moving_constant(b, b.s0, RELOC_PAGE, la)
        else:
            put_constant(e, b.s0, page)
        put_op(e, FORM_W, 0x39, b.s0, cython.address(tag))
        if moves:
            note_reloc(b, kind, WIDTH_LOW, la)
    later_site(b, put_forward_branch(e, CC_NE), site)
    put_op(e, FORM_W, 0x8B, b.s1, cython.address(host_page))
    if moves:
        note_reloc(b, kind + 1, WIDTH_LOW, la)
    b.is_s1_used = 1
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
        put_moving_constant(b, b.s0, RELOC_ADDRESS, b.out.rip + cython.cast(uint64_t, disp))
        base = b.s0
        disp = 0
    elif base != NO_REG:
        base = fetch_register(b, base, b.s0)
    if index != NO_REG:
        index = fetch_register(b, index, b.s1)
    if base == NO_REG:
        base = NO_BASE
    put_lea(e, form, b.s0, base, index, i.scale, disp)
    if i.ea_form == EA_BASE64:
        segment = absolute(cython.address(b.cpu.a.seg[i.seg].base))
        put_op(e, FORM_W, 0x03, b.s0, cython.address(segment))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_lookup(
    b: BuilderP, size: cython.int, is_write: cython.int, alignment: cython.int, site: SiteP
) -> cython.void:
    """s1 = the byte offset of the TLB entry for the linear address in s0, s0 = its offset in the page."""
    e: EmitterP = cython.address(b.e)
    array: cython.pointer(TlbEntry) = b.tlb_write if is_write else b.tlb_read
    tag: Operand
    b.is_s1_used = 1
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
    tag = absolute(cython.address(array.tag))
    tag.index = b.s1
    put_op(e, FORM_W, 0x2B, b.s0, cython.address(tag))
    if alignment:
        put_rr(e, FORM_W, 0xF7, 0, b.s0)
        put32(e, ~cython.cast(int64_t, 0xFFF & ~(alignment - 1)))
        later_site(b, put_forward_branch(e, CC_NE), site)
    if alignment < size:
        put_rr(e, FORM_W, 0x81, 7, b.s0)
        put32(e, PAGE_BYTES - size)
        later_site(b, put_forward_branch(e, CC_A), site)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_entry_field(b: BuilderP, to: cython.int, is_write: cython.int, is_addend: cython.bint) -> cython.void:
    """``to`` = the entry's addend, or the host address of its page."""
    array: cython.pointer(TlbEntry) = b.tlb_write if is_write else b.tlb_read
    field: Operand = absolute(cython.address(array.addend) if is_addend else cython.address(array.host_page))
    field.index = b.s1
    put_op(cython.address(b.e), FORM_W, 0x8B, to, cython.address(field))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_linear(
    b: BuilderP, size: cython.int, is_write: cython.int, alignment: cython.int, site: SiteP
) -> Operand:
    """The access to the linear address in s0."""
    put_lookup(b, size, is_write, alignment, site)
    put_entry_field(b, b.s1, is_write, False)
    return memory_operand(b.s1, b.s0, 0, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_access(b: BuilderP, access: AccessP, base: cython.int) -> Operand:
    """An access by registers that are in their places; ``base`` is the call-out's."""
    e: EmitterP = cython.address(b.e)
    window: WindowP = find_window(b, access)
    site: SiteP
    low: int64_t = access.disp
    size: cython.int = access.size
    if window != cython.NULL:
        return window_operand(b, window, access)
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    site = memory_site(b, access.size, access.is_write)
    site.base = base
    site.disp = cython.cast(cython.int, access.disp)
    window = plan_window(b, access)
    if window != cython.NULL:
        low = window.low
        size = cython.cast(cython.int, window.high - window.low)
        site.may_resume = 0
        if window.is_write and not access.is_write:
            site.reads_first = 1
            site.is_write = 1
        access.is_write = window.is_write
        site.low = cython.cast(cython.int, low - access.disp)
        site.span = size
    put_lea(
        e, FORM_W, b.s0, NO_BASE if access.base == NO_REG else access.base, access.index, access.scale, low
    )
    if b.is_hot and not is_slotless(b.t, b.out.gpa + b.i.offset)[0]:
        put_slot_lookup(b, access, low, size, NO_REG if window == cython.NULL else window.holder, site)
    else:
        put_lookup(b, size, access.is_write, access.alignment, site)
        if window == cython.NULL:
            put_entry_field(b, b.s1, access.is_write, access.index == NO_REG)
        else:
            put_entry_field(b, window.holder, access.is_write, True)
    if window != cython.NULL:
        # the window in s1 is open from now on
        b.is_s1_used = window.holder != b.s1
        return window_operand(b, window, access)
    if access.index == NO_REG:
        return memory_operand(access.base, b.s1, 0, access.disp)
    return memory_operand(b.s1, b.s0, 0, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe(b: BuilderP, size: cython.int, is_write: cython.int, alignment: cython.int) -> Operand:
    """``alignment`` is 0, or what the operand must have."""
    i: InstrP = b.i
    site: SiteP
    access: Access
    la: uint64_t
    if (
        i.ea_form == EA_FLAT64 and i.base != BLOCK_RIP and not is_in_memory(b, i.base)
        and not is_in_memory(b, i.index) and (i.base != ZERO or i.index != ZERO)
    ):  # fmt: skip
        access.base = NO_REG if i.base == ZERO else cython.cast(cython.int, i.base)
        access.index = NO_REG if i.index == ZERO else cython.cast(cython.int, i.index)
        access.scale = i.scale
        access.disp = i.disp
        access.size = size
        access.is_write = 1 if is_write else 0
        access.alignment = alignment
        return put_access(b, cython.address(access), OPERAND_ADDRESS)
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    if (i.base == BLOCK_RIP or i.base == ZERO) and i.index == ZERO and i.ea_form != EA_BASE64:
        la = cython.cast(uint64_t, cython.cast(int64_t, i.disp))
        if i.base == BLOCK_RIP:
            la += b.out.rip
        if i.ea_form == EA_FLAT32:
            la = cython.cast(uint32_t, la)
            b.out.is_movable = 0
        if (la & 0xFFF) + size <= PAGE_BYTES and (not alignment or la & (alignment - 1) == 0):
            return put_probe_constant(b, la, size, is_write, OPERAND_ADDRESS)
    site = memory_site(b, size, is_write)
    put_address(b)
    return put_probe_linear(b, size, is_write, alignment, site)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_probe_at(
    b: BuilderP, base: cython.int, disp: cython.int, size: cython.int, is_write: cython.int
) -> Operand:
    site: SiteP
    access: Access
    if b.is_64:
        access.base = base
        access.index = NO_REG
        access.scale = 0
        access.disp = disp
        access.size = size
        access.is_write = 1 if is_write else 0
        access.alignment = 0
        return put_access(b, cython.address(access), base)
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    site = memory_site(b, size, is_write)
    site.base = base
    site.disp = disp
    put_lea(cython.address(b.e), 0, b.s0, base, NO_REG, 0, disp)
    return put_probe_linear(b, size, is_write, 0, site)


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
    return put_probe_linear(b, size, is_write, 0, site)
