"""The page walk, in every paging mode: SDM vol. 3, chapter 4.

    32-bit      10 | 10 | 12       4 MiB pages with CR4.PSE (PSE-36 for bits 39..32)
    PAE       2 | 9 | 9 | 12       PDPTEs held in registers, 2 MiB pages
    4-level 9 | 9 | 9 | 9 | 12     2 MiB and 1 GiB pages
    5-level 9 | ... with CR4.LA57

One loop serves PAE, 4-level and 5-level. Accessed and dirty bits are set only when the access is
allowed: a walk that faults leaves the tables as they are.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.physical import phys_load, phys_store
from cython.cimports.ringfence.core.x86.state import (
    ACCESS_FETCH,
    ACCESS_WRITE,
    CR0_PG,
    CR0_WP,
    CR4_LA57,
    CR4_PAE,
    CR4_PGE,
    CR4_PSE,
    CR4_SMAP,
    CR4_SMEP,
    EFER_LMA,
    EFER_NXE,
    TLB_GLOBAL,
    TLB_LARGE,
    VIEW_CHECKED,
    VIEW_SUPERVISOR,
    VIEW_SUPERVISOR_AC,
    VIEW_USER,
    CpuP,
)
from cython.cimports.ringfence.core.x86.walk import WalkP
from cython.cimports.ringfence.core.x86.walk_bits import (
    ADDRESS_MASK,
    PF_FETCH,
    PF_PRESENT,
    PF_RESERVED,
    PF_USER,
    PF_WRITE,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_GLOBAL,
    PTE_LARGE,
    PTE_NX,
    PTE_PRESENT,
    PTE_USER,
    PTE_WRITABLE,
    RESERVED_HIGH,
    RESERVED_PAE_HIGH,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def set_bits(cpu: CpuP, gpa: uint64_t, entry: uint64_t, bits: uint64_t, size: cython.int) -> cython.void:
    if entry & bits != bits:
        phys_store(cpu, gpa, size, entry | bits)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def fault(result: WalkP, present: uint32_t, extra: uint32_t) -> cython.bint:
    result.error = present | extra
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def forbidden(
    cpu: CpuP, rights: uint64_t, access: cython.int, view: cython.int, is_nx: cython.bint
) -> cython.bint:
    """Whether the rights that hold over all levels refuse the access (SDM vol. 3, 4.6.1)."""
    is_user: cython.bint = view == VIEW_USER
    if is_user and not rights & PTE_USER:
        return True
    if access == ACCESS_FETCH:
        if is_nx:
            return True
        return not is_user and (rights & PTE_USER) != 0 and (cpu.a.cr4 & CR4_SMEP) != 0
    if not is_user and rights & PTE_USER and cpu.a.cr4 & CR4_SMAP and view != VIEW_SUPERVISOR_AC:
        return True
    return access == ACCESS_WRITE and not rights & PTE_WRITABLE and (is_user or (cpu.a.cr0 & CR0_WP) != 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def walk_32bit(
    cpu: CpuP, la: uint64_t, access: cython.int, view: cython.int, extra: uint32_t, result: WalkP
) -> cython.bint:
    pde_gpa: uint64_t = (cpu.a.cr3 & cython.cast(uint64_t, 0xFFFFF000)) | ((la >> 20) & 0xFFC)
    pte_gpa: uint64_t
    pde: uint64_t = 0
    pte: uint64_t = 0
    leaf: uint64_t = PTE_ACCESSED | (PTE_DIRTY if access == ACCESS_WRITE else 0)
    if not phys_load(cpu, pde_gpa, 4, cython.address(pde)) or not pde & PTE_PRESENT:
        return fault(result, 0, extra)
    if pde & PTE_LARGE and cpu.a.cr4 & CR4_PSE:
        if pde & (1 << 21):
            return fault(result, PF_PRESENT | PF_RESERVED, extra)
        if forbidden(cpu, pde, access, view, False):
            return fault(result, PF_PRESENT, extra)
        set_bits(cpu, pde_gpa, pde, leaf, 4)
        result.gpa = (pde & cython.cast(uint64_t, 0xFFC00000)) | ((pde & 0x1FE000) << 19) | (la & 0x3FF000)
        result.attr = TLB_LARGE
        if pde & PTE_GLOBAL and cpu.a.cr4 & CR4_PGE:
            result.attr |= TLB_GLOBAL
        result.may_write = pde & PTE_DIRTY and not forbidden(cpu, pde, ACCESS_WRITE, view, False)
        return True
    pte_gpa = (pde & cython.cast(uint64_t, 0xFFFFF000)) | ((la >> 10) & 0xFFC)
    if not phys_load(cpu, pte_gpa, 4, cython.address(pte)) or not pte & PTE_PRESENT:
        return fault(result, 0, extra)
    if forbidden(cpu, pde & pte, access, view, False):
        return fault(result, PF_PRESENT, extra)
    set_bits(cpu, pde_gpa, pde, PTE_ACCESSED, 4)
    set_bits(cpu, pte_gpa, pte, leaf, 4)
    result.gpa = pte & cython.cast(uint64_t, 0xFFFFF000)
    result.attr = TLB_GLOBAL if pte & PTE_GLOBAL and cpu.a.cr4 & CR4_PGE else 0
    result.may_write = pte & PTE_DIRTY and not forbidden(cpu, pde & pte, ACCESS_WRITE, view, False)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def walk_long(
    cpu: CpuP, la: uint64_t, access: cython.int, view: cython.int, extra: uint32_t, result: WalkP
) -> cython.bint:
    """PAE, 4-level and 5-level: entries of 8 bytes, 9 bits of index a level."""
    is_pae: cython.bint = not (cpu.a.msr.efer & EFER_LMA)
    level: cython.int
    above: cython.int = 0
    tables: uint64_t[4]
    table_gpas: uint64_t[4]
    entry: uint64_t = 0
    entry_gpa: uint64_t = 0
    rights: uint64_t = PTE_USER | PTE_WRITABLE
    nx: uint64_t = 0
    reserved: uint64_t
    base: uint64_t
    offset_mask: uint64_t
    leaf: uint64_t = PTE_ACCESSED | (PTE_DIRTY if access == ACCESS_WRITE else 0)
    if is_pae:
        level = 2
        base = cpu.a.pdpte[(la >> 30) & 3]
        if not base & PTE_PRESENT:
            return fault(result, 0, extra)
        base &= ADDRESS_MASK
        reserved = RESERVED_PAE_HIGH
    else:
        level = 5 if cpu.a.cr4 & CR4_LA57 else 4
        base = cpu.a.cr3 & ADDRESS_MASK
        reserved = RESERVED_HIGH
    if not (cpu.a.msr.efer & EFER_NXE):
        reserved |= PTE_NX
    while True:
        entry_gpa = base | (((la >> (3 + 9 * level)) & 0x1FF) << 3)
        if not phys_load(cpu, entry_gpa, 8, cython.address(entry)) or not entry & PTE_PRESENT:
            return fault(result, 0, extra)
        rights &= entry
        nx |= entry & PTE_NX
        if entry & reserved or (level >= 4 and entry & PTE_LARGE):
            return fault(result, PF_PRESENT | PF_RESERVED, extra)
        if level == 1 or entry & PTE_LARGE:
            break
        tables[above] = entry
        table_gpas[above] = entry_gpa
        above += 1
        base = entry & ADDRESS_MASK
        level -= 1
    offset_mask = (cython.cast(uint64_t, 1) << (3 + 9 * level)) - 1
    # bits 12..(page size) of a large page's entry are reserved, but for PAT at 12
    if level > 1 and entry & ADDRESS_MASK & offset_mask & ~cython.cast(uint64_t, 0x1000):
        return fault(result, PF_PRESENT | PF_RESERVED, extra)
    if forbidden(cpu, rights, access, view, nx != 0):
        return fault(result, PF_PRESENT, extra)
    while above:
        above -= 1
        set_bits(cpu, table_gpas[above], tables[above], PTE_ACCESSED, 8)
    # last: a recursive mapping's leaf may be one of the tables above it
    set_bits(cpu, entry_gpa, entry, leaf, 8)
    result.gpa = (entry & ADDRESS_MASK & ~offset_mask) | (la & offset_mask & ~cython.cast(uint64_t, 0xFFF))
    result.attr = TLB_LARGE if level > 1 else 0
    if entry & PTE_GLOBAL and cpu.a.cr4 & CR4_PGE:
        result.attr |= TLB_GLOBAL
    result.may_write = entry & PTE_DIRTY and not forbidden(cpu, rights, ACCESS_WRITE, view, nx != 0)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def walk(cpu: CpuP, la: uint64_t, access: cython.int, view: cython.int, result: WalkP) -> cython.bint:
    """Find the page of ``la`` for an access from ``view``.

    Returns false with the page-fault error code in ``result.error`` when the walk faults.
    """
    extra: uint32_t = 0
    if not (cpu.a.cr0 & CR0_PG):
        result.gpa = la & cython.cast(uint64_t, 0xFFFFF000)
        result.attr = 0
        result.may_write = 1
        return True
    if view == VIEW_CHECKED:
        view = VIEW_USER if cpu.a.cpl == 3 else VIEW_SUPERVISOR
        if view == VIEW_SUPERVISOR and cpu.a.rflags & (1 << 18):
            view = VIEW_SUPERVISOR_AC
    if access == ACCESS_WRITE:
        extra |= PF_WRITE
    if view == VIEW_USER:
        extra |= PF_USER
    if access == ACCESS_FETCH and (
        cpu.a.cr4 & CR4_SMEP or (cpu.a.msr.efer & EFER_NXE and cpu.a.cr4 & CR4_PAE)
    ):
        extra |= PF_FETCH
    if cpu.a.cr4 & CR4_PAE:
        return walk_long(cpu, la, access, view, extra, result)
    return walk_32bit(cpu, la, access, view, extra, result)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_pdptes(cpu: CpuP) -> cython.bint:
    """PAE: read the four PDPTEs of CR3; false when one has reserved bits set (then #GP)."""
    k: cython.int
    values: uint64_t[4]
    for k in range(4):
        values[k] = 0
        phys_load(cpu, (cpu.a.cr3 & cython.cast(uint64_t, 0xFFFFFFE0)) + 8 * k, 8, cython.address(values[k]))
        if values[k] & PTE_PRESENT and values[k] & (RESERVED_PAE_HIGH | PTE_NX | 0x1E6):
            return False
    for k in range(4):
        cpu.a.pdpte[k] = values[k]
    return True
