"""Hardware task switch and the TSS: SDM vol. 3, chapter 8; the I/O bitmap: vol. 1, 19.5.2.

A switch has two halves. Until the commit everything is checked in the old task, so that a fault
there restarts the switching instruction. After it the processor runs in the new task, and what
is wrong with the new task's segments is the new task's fault (#TS, #NP, #SS at its EIP).
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import check_write_system, load_system, store_system
from cython.cimports.ringfence.core.x86.debug import DR6_BT, check_port_breakpoints, pend_trap
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_BUSY,
    TYPE_LDT,
    TYPE_TSS16,
    TYPE_TSS16_BUSY,
    TYPE_TSS32,
    TYPE_TSS32_BUSY,
    Descriptor,
    dpl_of,
    is_code,
    is_conforming,
    is_null,
    is_present,
    is_system,
    is_v86,
    rpl_of,
    type_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.flags import get_rflags, set_arithmetic_flags
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.segments import (
    check_data_segment,
    check_stack_segment,
    commit_null,
    commit_segment,
    commit_v86,
    mark_accessed,
    raise_selector,
    read_descriptor,
    require_descriptor,
)
from cython.cimports.ringfence.core.x86.stack import Stack, open_current, push_on, read_tss
from cython.cimports.ringfence.core.x86.state import (
    ARITHMETIC,
    ATTR_NULL,
    CR0_PE,
    CR0_PG,
    CR0_TS,
    CR4_PAE,
    CS,
    DS,
    ES,
    FS,
    GP,
    GS,
    IOPL,
    LDTR,
    NP,
    NT,
    RSP,
    SS,
    TR,
    TS,
    VM,
    CpuP,
    Segment,
)
from cython.cimports.ringfence.core.x86.task import FROM_CALL, FROM_GATE, FROM_IRET, FROM_JMP
from cython.cimports.ringfence.core.x86.tlb import flush_tlb
from cython.cimports.ringfence.core.x86.walk import load_pdptes

#  What a TSS holds of a task; registers and segments in the order of the encoding.
NewTask = cython.struct(
    cr3=uint64_t,
    rip=uint64_t,
    flags=uint64_t,
    regs=uint64_t[8],
    selectors=uint32_t[6],
    ldt=uint32_t,
    trap=cython.bint,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_tss32(attr: uint32_t) -> cython.bint:
    return type_of(attr) == TYPE_TSS32 or type_of(attr) == TYPE_TSS32_BUSY


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_task32(cpu: CpuP, tss: uint64_t, new: cython.pointer(NewTask)) -> cython.void:
    k: cython.int
    new.cr3 = load_system(cpu, tss + 0x1C, 4)
    new.rip = load_system(cpu, tss + 0x20, 4)
    new.flags = load_system(cpu, tss + 0x24, 4)
    for k in range(8):
        new.regs[k] = load_system(cpu, tss + 0x28 + 4 * k, 4)
    for k in range(6):
        new.selectors[k] = cython.cast(uint32_t, load_system(cpu, tss + 0x48 + 4 * k, 2))
    new.ldt = cython.cast(uint32_t, load_system(cpu, tss + 0x60, 2))
    new.trap = load_system(cpu, tss + 0x64, 2) & 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_task16(cpu: CpuP, tss: uint64_t, new: cython.pointer(NewTask)) -> cython.void:
    k: cython.int
    new.cr3 = cpu.a.cr3
    new.rip = load_system(cpu, tss + 0x0E, 2)
    new.flags = load_system(cpu, tss + 0x10, 2)
    for k in range(8):
        new.regs[k] = load_system(cpu, tss + 0x12 + 2 * k, 2) | cython.cast(uint64_t, 0xFFFF_0000)
    for k in range(4):
        new.selectors[k] = cython.cast(uint32_t, load_system(cpu, tss + 0x22 + 2 * k, 2))
    new.selectors[FS] = 0
    new.selectors[GS] = 0
    new.ldt = cython.cast(uint32_t, load_system(cpu, tss + 0x2A, 2))
    new.trap = False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def save_task(cpu: CpuP, flags: uint64_t, rip: uint64_t) -> cython.void:
    """The old task into its TSS, which has been checked to be writable."""
    k: cython.int
    tss: uint64_t = cpu.a.seg[TR].base
    if is_tss32(cpu.a.seg[TR].attr):
        store_system(cpu, tss + 0x20, rip, 4)
        store_system(cpu, tss + 0x24, flags, 4)
        for k in range(8):
            store_system(cpu, tss + 0x28 + 4 * k, cpu.a.regs[k], 4)
        for k in range(6):
            store_system(cpu, tss + 0x48 + 4 * k, cpu.a.seg[k].selector, 2)
        return
    store_system(cpu, tss + 0x0E, rip, 2)
    store_system(cpu, tss + 0x10, flags, 2)
    for k in range(8):
        store_system(cpu, tss + 0x12 + 2 * k, cpu.a.regs[k], 2)
    for k in range(4):
        store_system(cpu, tss + 0x22 + 2 * k, cpu.a.seg[k].selector, 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_task(cpu: CpuP, d: cython.pointer(Descriptor)) -> cython.void:
    """Everything that can fault in the old task, before its TSS is written."""
    old: uint64_t = cpu.a.seg[TR].base
    if not is_present(d.attr):
        raise_selector(cpu, NP, d.selector)
    if d.limit < cython.cast(uint32_t, 0x67 if is_tss32(d.attr) else 0x2B):
        raise_selector(cpu, TS, d.selector)
    if is_tss32(cpu.a.seg[TR].attr):
        check_write_system(cpu, old + 0x20, 0x3E)
    else:
        check_write_system(cpu, old + 0x0E, 0x1C)
    check_write_system(cpu, d.base, 2)
    check_write_system(cpu, d.address + 5, 1)
    check_write_system(cpu, cpu.a.gdtr.base + (cpu.a.seg[TR].selector & 0xFFF8) + 5, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def switch_task(
    cpu: CpuP,
    d: cython.pointer(Descriptor),
    cause: cython.int,
    flags: uint64_t,
    rip: uint64_t,
    has_error: cython.bint,
    error: uint32_t,
) -> cython.void:
    new: NewTask
    s: Stack
    tr: cython.pointer(Segment) = cython.address(cpu.a.seg[TR])
    wide: cython.bint = is_tss32(d.attr)
    busy: uint64_t = cpu.a.gdtr.base + (tr.selector & 0xFFF8) + 5
    check_task(cpu, d)
    if wide:
        read_task32(cpu, d.base, cython.address(new))
    else:
        read_task16(cpu, d.base, cython.address(new))
    save_task(cpu, flags & ~cython.cast(uint64_t, NT) if cause == FROM_IRET else flags, rip)
    if cause == FROM_JMP or cause == FROM_IRET:
        store_system(cpu, busy, load_system(cpu, busy, 1) & ~cython.cast(uint64_t, TYPE_BUSY), 1)
    if cause == FROM_CALL or cause == FROM_GATE:
        store_system(cpu, d.base, tr.selector, 2)
        new.flags |= NT
    if cause != FROM_IRET:
        d.attr |= TYPE_BUSY
        store_system(cpu, d.address + 5, d.attr & 0xFF, 1)
    commit_segment(cpu, TR, d.selector & 0xFFFC, d)
    enter_task(cpu, cython.address(new), wide)
    load_task_segments(cpu, cython.address(new))
    if has_error:
        open_current(cpu, cython.address(s))
        push_on(cpu, cython.address(s), error, 4 if wide else 2)
        cpu.a.regs[RSP] = s.sp
    if cpu.a.rip > cpu.a.seg[CS].limit:
        raise_gp(cpu)
    if new.trap:
        pend_trap(cpu, DR6_BT)
    cpu.attention = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_task(cpu: CpuP, new: cython.pointer(NewTask), wide: cython.bint) -> cython.void:
    """The commit: from here on faults belong to the new task."""
    k: cython.int
    cpu.a.cr0 |= CR0_TS
    cpu.a.dr[7] &= ~cython.cast(uint64_t, 0x155)
    cpu.a.rip = new.rip
    cpu.first = cython.NULL
    set_arithmetic_flags(cpu, new.flags)
    cpu.a.rflags = new.flags & (0x3F7FD7 & ~cython.cast(uint64_t, ARITHMETIC))
    for k in range(8):
        cpu.a.regs[k] = new.regs[k]
    for k in range(6):
        commit_null(cpu, k, new.selectors[k])
    commit_null(cpu, LDTR, new.ldt)
    cpu.a.cpl = 3 if new.flags & VM else rpl_of(new.selectors[CS])
    if wide and cpu.a.cr0 & CR0_PG:
        cpu.a.cr3 = new.cr3
        flush_tlb(cpu, True)
        if cpu.a.cr4 & CR4_PAE and not load_pdptes(cpu):
            refresh_mode(cpu)
            raise_gp(cpu)
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_task_ldt(cpu: CpuP, selector: uint32_t) -> cython.void:
    d: Descriptor
    if is_null(selector):
        return
    if selector & 4 or not read_descriptor(cpu, selector, cython.address(d)):
        raise_selector(cpu, TS, selector)
    if not is_system(d.attr) or type_of(d.attr) != TYPE_LDT or not is_present(d.attr):
        raise_selector(cpu, TS, selector)
    commit_segment(cpu, LDTR, selector, cython.address(d))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_task_data(cpu: CpuP, name: cython.int, selector: uint32_t) -> cython.void:
    d: Descriptor
    if not is_null(selector):
        check_data_segment(cpu, selector, cpu.a.cpl, TS, cython.address(d))
        commit_segment(cpu, name, selector, cython.address(d))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_task_segments(cpu: CpuP, new: cython.pointer(NewTask)) -> cython.void:
    d: Descriptor
    k: cython.int
    cs: uint32_t = new.selectors[CS]
    load_task_ldt(cpu, new.ldt)
    if cpu.a.rflags & VM:
        for k in range(6):
            commit_v86(cpu, k, new.selectors[k])
        refresh_mode(cpu)
        return
    require_descriptor(cpu, cs, TS, cython.address(d))
    if (
        not is_code(d.attr)
        or dpl_of(d.attr) > rpl_of(cs)
        or (not is_conforming(d.attr) and dpl_of(d.attr) != rpl_of(cs))
    ):
        raise_selector(cpu, TS, cs)
    if not is_present(d.attr):
        raise_selector(cpu, NP, cs)
    mark_accessed(cpu, cython.address(d))
    commit_segment(cpu, CS, cs, cython.address(d))
    check_stack_segment(cpu, new.selectors[SS], cpu.a.cpl, TS, cython.address(d))
    commit_segment(cpu, SS, new.selectors[SS], cython.address(d))
    load_task_data(cpu, DS, new.selectors[DS])
    load_task_data(cpu, ES, new.selectors[ES])
    load_task_data(cpu, FS, new.selectors[FS])
    load_task_data(cpu, GS, new.selectors[GS])
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def switch_through_gate(
    cpu: CpuP,
    selector: uint32_t,
    cause: cython.int,
    flags: uint64_t,
    rip: uint64_t,
    has_error: cython.bint,
    error: uint32_t,
) -> cython.void:
    d: Descriptor
    kind: cython.int
    require_descriptor(cpu, selector, GP, cython.address(d))
    kind = type_of(d.attr)
    if selector & 4 or not is_system(d.attr) or (kind != TYPE_TSS16 and kind != TYPE_TSS32):
        raise_selector(cpu, GP, selector)
    switch_task(cpu, cython.address(d), cause, flags, rip, has_error, error)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def return_from_task(cpu: CpuP, rip: uint64_t) -> cython.void:
    d: Descriptor
    kind: cython.int
    link: uint32_t = cython.cast(uint32_t, read_tss(cpu, 0, 2))
    require_descriptor(cpu, link, TS, cython.address(d))
    kind = type_of(d.attr)
    if link & 4 or not is_system(d.attr) or (kind != TYPE_TSS16_BUSY and kind != TYPE_TSS32_BUSY):
        raise_selector(cpu, TS, link)
    switch_task(cpu, cython.address(d), FROM_IRET, get_rflags(cpu), rip, False, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_bitmap(cpu: CpuP, back: uint32_t, index: uint32_t) -> uint32_t:
    """16 bits from bit `index`, rounded down to a byte, of the bitmap `back` bytes before the I/O map."""
    tr: cython.pointer(Segment) = cython.address(cpu.a.seg[TR])
    at: uint32_t
    if tr.attr & ATTR_NULL or not is_tss32(tr.attr) or tr.limit < 0x67:
        raise_gp(cpu)
    at = cython.cast(uint32_t, load_system(cpu, tr.base + 0x66, 2)) - back + (index >> 3)
    if at >= tr.limit:
        raise_gp(cpu)
    return cython.cast(uint32_t, load_system(cpu, tr.base + at, 2)) >> (index & 7)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_io(cpu: CpuP, port: uint32_t, size: cython.int) -> cython.void:
    if cpu.has_breakpoints:
        check_port_breakpoints(cpu, port, size)
    if not cpu.a.cr0 & CR0_PE or (not is_v86(cpu) and cpu.a.cpl <= (cpu.a.rflags & IOPL) >> 12):
        return
    if read_bitmap(cpu, 0, port) & ((1 << size) - 1):
        raise_gp(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_redirected(cpu: CpuP, vector: cython.int) -> cython.bint:
    return not read_bitmap(cpu, 32, vector) & 1
