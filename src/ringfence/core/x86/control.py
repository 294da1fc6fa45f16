"""Control registers: MOV CR, CLTS, LMSW, SMSW. SDM vol. 3, 2.5 and 4.1.2 (legal combinations).

A write is checked as a whole, then committed by `enter_paging`, which turns long mode on and
off, reloads the PDPTEs of PAE paging and drops what the TLB knows.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.access import load, store
from cython.cimports.ringfence.core.x86.cpuid import cr4_mask
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_TSS16,
    TYPE_TSS16_BUSY,
    is_code64,
    is_long,
    type_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.lapic import lapic_get_cr8, lapic_set_cr8
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, set_reg
from cython.cimports.ringfence.core.x86.privilege import end_at_next, require_cpl0, require_umip
from cython.cimports.ringfence.core.x86.state import (
    ATTR_L,
    CR0_AM,
    CR0_CD,
    CR0_EM,
    CR0_ET,
    CR0_MP,
    CR0_NE,
    CR0_NW,
    CR0_PE,
    CR0_PG,
    CR0_TS,
    CR0_WP,
    CR4_PAE,
    CR4_PCIDE,
    CR4_PGE,
    CR4_PSE,
    CR4_SMAP,
    CR4_SMEP,
    CS,
    EFER_LMA,
    EFER_LME,
    INSTR_MEMORY,
    TR,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.tlb import flush_tlb
from cython.cimports.ringfence.core.x86.walk import load_pdptes


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_pae(cr0: uint64_t, cr4: uint64_t, efer: uint64_t) -> cython.bint:
    """PAE paging proper, whose PDPTEs are registers."""
    return (cr0 & CR0_PG) != 0 and (cr4 & CR4_PAE) != 0 and not efer & EFER_LME


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def try_pdptes(cpu: CpuP, cr3: uint64_t) -> cython.void:
    """Load the PDPTEs that ``cr3`` names; #GP(0) and nothing changed if one is malformed."""
    old: uint64_t = cpu.a.cr3
    cpu.a.cr3 = cr3
    if not load_pdptes(cpu):
        cpu.a.cr3 = old
        raise_gp(cpu)
    cpu.a.cr3 = old


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_cr0(cpu: CpuP, value: uint64_t) -> cython.void:
    known: uint64_t = (
        CR0_PE
        | CR0_MP
        | CR0_EM
        | CR0_TS
        | CR0_NE
        | CR0_WP
        | CR0_AM
        | CR0_NW
        | CR0_CD
        | cython.cast(uint64_t, CR0_PG)
    )
    old: uint64_t = cpu.a.cr0
    tr: cython.int = type_of(cpu.a.seg[TR].attr)
    if value >> 32:
        raise_gp(cpu)
    value = (value & known) | CR0_ET
    if (value & CR0_PG and not value & CR0_PE) or (value & CR0_NW and not value & CR0_CD):
        raise_gp(cpu)
    if not value & CR0_PG and cpu.a.cr4 & CR4_PCIDE:
        raise_gp(cpu)
    if not value & CR0_PG and is_code64(cpu):
        raise_gp(cpu)
    if (
        value & CR0_PG
        and not old & CR0_PG
        and cpu.a.msr.efer & EFER_LME
        and (
            not cpu.a.cr4 & CR4_PAE
            or cpu.a.seg[CS].attr & ATTR_L
            or tr == TYPE_TSS16
            or tr == TYPE_TSS16_BUSY
        )
    ):
        raise_gp(cpu)
    if is_pae(value, cpu.a.cr4, cpu.a.msr.efer) and (value ^ old) & (CR0_PG | CR0_CD | CR0_NW):
        try_pdptes(cpu, cpu.a.cr3)
    cpu.a.cr0 = value
    if value & CR0_PG and cpu.a.msr.efer & EFER_LME:
        cpu.a.msr.efer |= EFER_LMA
    else:
        cpu.a.msr.efer &= ~cython.cast(uint64_t, EFER_LMA)
    if (value ^ old) & (CR0_PG | CR0_WP | CR0_PE):
        flush_tlb(cpu, False)
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_cr3(cpu: CpuP, value: uint64_t) -> cython.void:
    """Bit 63 only permits keeping what the TLB holds; this TLB has no PCIDs and keeps nothing."""
    if is_long(cpu):
        if cpu.a.cr4 & CR4_PCIDE:
            value &= ~(cython.cast(uint64_t, 1) << 63)
        if value >> cpu.a.lapic.physical_bits:
            raise_gp(cpu)
    elif is_pae(cpu.a.cr0, cpu.a.cr4, cpu.a.msr.efer):
        try_pdptes(cpu, value)
    cpu.a.cr3 = value
    flush_tlb(cpu, True)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_cr4(cpu: CpuP, value: uint64_t) -> cython.void:
    changed: uint64_t = value ^ cpu.a.cr4
    if value & ~cr4_mask(cpu):
        raise_gp(cpu)
    if is_long(cpu) and not value & CR4_PAE:
        raise_gp(cpu)
    if value & CR4_PCIDE and changed & CR4_PCIDE and (not is_long(cpu) or cpu.a.cr3 & 0xFFF):
        raise_gp(cpu)
    if is_pae(cpu.a.cr0, value, cpu.a.msr.efer) and changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP):
        try_pdptes(cpu, cpu.a.cr3)
    cpu.a.cr4 = value
    if changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE):
        flush_tlb(cpu, False)
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mov_to_cr(cpu: CpuP, i: InstrP) -> cython.void:
    value: uint64_t = cpu.a.regs[i.rm]
    if i.reg != 0 and i.reg != 2 and i.reg != 3 and i.reg != 4 and i.reg != 8:
        raise_ud(cpu)
    require_cpl0(cpu)
    if not is_code64(cpu):
        value &= cython.cast(uint64_t, 0xFFFF_FFFF)
    if i.reg == 0:
        write_cr0(cpu, value)
    elif i.reg == 2:
        cpu.a.cr2 = value
    elif i.reg == 3:
        write_cr3(cpu, value)
    elif i.reg == 4:
        write_cr4(cpu, value)
    else:
        if value > 15:
            raise_gp(cpu)
        lapic_set_cr8(cython.address(cpu.a.lapic), value)
        cpu.attention = 1
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mov_from_cr(cpu: CpuP, i: InstrP) -> cython.void:
    value: uint64_t = 0
    if i.reg != 0 and i.reg != 2 and i.reg != 3 and i.reg != 4 and i.reg != 8:
        raise_ud(cpu)
    require_cpl0(cpu)
    if i.reg == 0:
        value = cpu.a.cr0
    elif i.reg == 2:
        value = cpu.a.cr2
    elif i.reg == 3:
        value = cpu.a.cr3
    elif i.reg == 4:
        value = cpu.a.cr4
    else:
        value = lapic_get_cr8(cython.address(cpu.a.lapic))
    set_reg(cpu, i.rm, value, 8 if is_code64(cpu) else 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def clts(cpu: CpuP, i: InstrP) -> cython.void:
    require_cpl0(cpu)
    cpu.a.cr0 &= ~cython.cast(uint64_t, CR0_TS)
    refresh_mode(cpu)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lmsw(cpu: CpuP, i: InstrP) -> cython.void:
    """PE MP EM TS; PE can be set but not cleared."""
    value: uint64_t
    require_cpl0(cpu)
    value = load_word(cpu, i) & 0xF
    write_cr0(cpu, (cpu.a.cr0 & ~cython.cast(uint64_t, 0xE)) | value)
    end_at_next(cpu, i)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def load_word(cpu: CpuP, i: InstrP) -> uint64_t:
    if i.attr & INSTR_MEMORY:
        return load(cpu, ea(cpu, i, 2, 0), 2)
    return get_reg(cpu, i.rm, 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def smsw(cpu: CpuP, i: InstrP) -> cython.void:
    require_umip(cpu)
    if i.attr & INSTR_MEMORY:
        store(cpu, ea(cpu, i, 2, 1), cpu.a.cr0 & 0xFFFF, 2)
    else:
        set_reg(cpu, i.rm, cpu.a.cr0, 1 << i.width)
    next_(cpu, i)
