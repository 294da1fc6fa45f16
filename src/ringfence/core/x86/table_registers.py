"""The registers that name system tables: LGDT LIDT SGDT SIDT, LLDT LTR SLDT STR. SDM vol. 3, 2.4."""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import check_write, load, store, store_system
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_BUSY,
    TYPE_LDT,
    TYPE_TSS16,
    TYPE_TSS32,
    Descriptor,
    is_canonical,
    is_code64,
    is_long,
    is_null,
    is_present,
    is_system,
    type_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, set_reg
from cython.cimports.ringfence.core.x86.privilege import end_at_next, require_cpl0, require_umip
from cython.cimports.ringfence.core.x86.segments import (
    commit_null,
    commit_segment,
    raise_selector,
    read_upper,
    require_descriptor,
)
from cython.cimports.ringfence.core.x86.state import GP, INSTR_MEMORY, LDTR, NP, TR, CpuP, InstrP
from cython.cimports.ringfence.core.x86.state_parts import Table


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_table(cpu: CpuP, i: InstrP, table: cython.pointer(Table)) -> cython.void:
    """A pseudo-descriptor: 16-bit limit, then the base: 24, 32 or 64 bits of it."""
    la: uint64_t
    base: uint64_t
    limit: uint64_t
    width: cython.int = 8 if is_code64(cpu) else 4
    require_cpl0(cpu)
    la = ea(cpu, i, 2 + width, 0)
    limit = load(cpu, la, 2)
    base = load(cpu, la + 2, width)
    if not is_canonical(base):
        raise_gp(cpu)
    if width == 4 and i.width == 1:
        base &= 0xFFFFFF
    table.base = base
    table.limit = limit


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_table(cpu: CpuP, i: InstrP, table: cython.pointer(Table)) -> cython.void:
    la: uint64_t
    width: cython.int = 8 if is_code64(cpu) else 4
    require_umip(cpu)
    la = ea(cpu, i, 2 + width, 1)
    check_write(cpu, la, 2 + width)
    store(cpu, la, table.limit, 2)
    store(cpu, la + 2, table.base, width)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lgdt(cpu: CpuP, i: InstrP) -> cython.void:
    load_table(cpu, i, cython.address(cpu.a.gdtr))
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lidt(cpu: CpuP, i: InstrP) -> cython.void:
    load_table(cpu, i, cython.address(cpu.a.idtr))
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sgdt(cpu: CpuP, i: InstrP) -> cython.void:
    store_table(cpu, i, cython.address(cpu.a.gdtr))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sidt(cpu: CpuP, i: InstrP) -> cython.void:
    store_table(cpu, i, cython.address(cpu.a.idtr))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_selector(cpu: CpuP, i: InstrP) -> uint32_t:
    if i.attr & INSTR_MEMORY:
        return cython.cast(uint32_t, load(cpu, ea(cpu, i, 2, 0), 2))
    return cython.cast(uint32_t, get_reg(cpu, i.rm, 2))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_selector(cpu: CpuP, i: InstrP, selector: uint32_t) -> cython.void:
    """16 bits to memory, the whole operand to a register."""
    if i.attr & INSTR_MEMORY:
        store(cpu, ea(cpu, i, 2, 1), selector, 2)
    else:
        set_reg(cpu, i.rm, selector, 1 << i.width)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_system_segment(cpu: CpuP, selector: uint32_t, d: cython.pointer(Descriptor)) -> cython.void:
    """A system descriptor from the GDT; in long mode all 16 bytes of it."""
    upper: uint32_t = 0
    if selector & 4:
        raise_selector(cpu, GP, selector)
    require_descriptor(cpu, selector, GP, d)
    if not is_system(d.attr):
        raise_selector(cpu, GP, selector)
    if is_long(cpu):
        if not read_upper(cpu, d, cython.address(upper)):
            raise_selector(cpu, GP, selector)
        d.base |= cython.cast(uint64_t, upper) << 32
        if not is_canonical(d.base):
            raise_selector(cpu, GP, selector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_ldtr(cpu: CpuP, i: InstrP) -> cython.void:
    d: Descriptor
    selector: uint32_t
    require_cpl0(cpu)
    selector = load_selector(cpu, i)
    if is_null(selector):
        commit_null(cpu, LDTR, selector)
        return
    read_system_segment(cpu, selector, cython.address(d))
    if type_of(d.attr) != TYPE_LDT:
        raise_selector(cpu, GP, selector)
    if not is_present(d.attr):
        raise_selector(cpu, NP, selector)
    commit_segment(cpu, LDTR, selector, cython.address(d))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_tr(cpu: CpuP, i: InstrP) -> cython.void:
    d: Descriptor
    selector: uint32_t
    require_cpl0(cpu)
    selector = load_selector(cpu, i)
    if is_null(selector):
        raise_gp(cpu)
    read_system_segment(cpu, selector, cython.address(d))
    if type_of(d.attr) != TYPE_TSS32 and (type_of(d.attr) != TYPE_TSS16 or is_long(cpu)):
        raise_selector(cpu, GP, selector)
    if not is_present(d.attr):
        raise_selector(cpu, NP, selector)
    d.attr |= TYPE_BUSY
    store_system(cpu, d.address + 5, d.attr & 0xFF, 1)
    commit_segment(cpu, TR, selector, cython.address(d))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lldt(cpu: CpuP, i: InstrP) -> cython.void:
    load_ldtr(cpu, i)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ltr(cpu: CpuP, i: InstrP) -> cython.void:
    load_tr(cpu, i)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sldt(cpu: CpuP, i: InstrP) -> cython.void:
    require_umip(cpu)
    store_selector(cpu, i, cpu.a.seg[LDTR].selector)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def str_(cpu: CpuP, i: InstrP) -> cython.void:
    require_umip(cpu)
    store_selector(cpu, i, cpu.a.seg[TR].selector)
    next_(cpu, i)
