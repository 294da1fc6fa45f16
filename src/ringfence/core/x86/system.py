"""System instructions that stand alone: TLB and cache control, HLT, FS/GS bases, time, hypercalls.

SDM vol. 2. Caches are not modelled: WBINVD and INVD only check privilege.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.access import load
from cython.cimports.ringfence.core.x86.descriptor import is_canonical, is_code64
from cython.cimports.ringfence.core.x86.faults import raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, set_reg
from cython.cimports.ringfence.core.x86.privilege import end_at_next, require_cpl0
from cython.cimports.ringfence.core.x86.state import (
    CR4_FSGSBASE,
    CR4_PCIDE,
    CR4_TSD,
    FS,
    GS,
    HALTED,
    RAX,
    RCX,
    RDX,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.time import read_tsc
from cython.cimports.ringfence.core.x86.tlb import flush_page, flush_tlb


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hlt(cpu: CpuP, i: InstrP) -> cython.void:
    require_cpl0(cpu)
    cpu.a.activity = HALTED
    cpu.attention = 1
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def invlpg(cpu: CpuP, i: InstrP) -> cython.void:
    require_cpl0(cpu)
    flush_page(cpu, ea(cpu, i, 1, 0))
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def invpcid(cpu: CpuP, i: InstrP) -> cython.void:
    """Types: 0 one address, 1 one PCID, 2 everything, 3 everything but global pages."""
    kind: uint64_t
    pcid: uint64_t
    la: uint64_t
    require_cpl0(cpu)
    kind = get_reg(cpu, i.reg, 8 if is_code64(cpu) else 4)
    la = ea(cpu, i, 16, 0)
    pcid = load(cpu, la, 8)
    la = load(cpu, la + 8, 8)
    if kind > 3 or pcid >> 12:
        raise_gp(cpu)
    if kind < 2 and pcid and not cpu.a.cr4 & CR4_PCIDE:
        raise_gp(cpu)
    if kind == 0:
        if not is_canonical(la):
            raise_gp(cpu)
        flush_page(cpu, la)
    else:
        flush_tlb(cpu, kind != 2)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def wbinvd(cpu: CpuP, i: InstrP) -> cython.void:
    require_cpl0(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def swapgs(cpu: CpuP, i: InstrP) -> cython.void:
    base: uint64_t = cpu.a.seg[GS].base
    require_cpl0(cpu)
    cpu.a.seg[GS].base = cpu.a.msr.kernel_gs_base
    cpu.a.msr.kernel_gs_base = base
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_base(cpu: CpuP, i: InstrP, name: cython.int) -> cython.void:
    if not cpu.a.cr4 & CR4_FSGSBASE:
        raise_ud(cpu)
    set_reg(cpu, i.rm, cpu.a.seg[name].base, 1 << i.width)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_base(cpu: CpuP, i: InstrP, name: cython.int) -> cython.void:
    base: uint64_t = get_reg(cpu, i.rm, 1 << i.width)
    if not cpu.a.cr4 & CR4_FSGSBASE:
        raise_ud(cpu)
    if not is_canonical(base):
        raise_gp(cpu)
    cpu.a.seg[name].base = base


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdfsbase(cpu: CpuP, i: InstrP) -> cython.void:
    read_base(cpu, i, FS)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdgsbase(cpu: CpuP, i: InstrP) -> cython.void:
    read_base(cpu, i, GS)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def wrfsbase(cpu: CpuP, i: InstrP) -> cython.void:
    write_base(cpu, i, FS)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def wrgsbase(cpu: CpuP, i: InstrP) -> cython.void:
    write_base(cpu, i, GS)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vmcall(cpu: CpuP, i: InstrP) -> cython.void:
    """KVM's hypercall interface with no calls in it: RAX = -KVM_ENOSYS."""
    set_reg(cpu, RAX, cython.cast(uint64_t, -1000), 8 if is_code64(cpu) else 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdpmc(cpu: CpuP, i: InstrP) -> cython.void:
    """There are no counters to read: every index is #GP(0), with or without the right to ask."""
    raise_gp(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_time(cpu: CpuP) -> cython.void:
    tsc: uint64_t
    if cpu.a.cr4 & CR4_TSD and cpu.a.cpl != 0:
        raise_gp(cpu)
    tsc = read_tsc(cpu)
    cpu.a.regs[RAX] = tsc & cython.cast(uint64_t, 0xFFFF_FFFF)
    cpu.a.regs[RDX] = tsc >> 32


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdtsc(cpu: CpuP, i: InstrP) -> cython.void:
    read_time(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdtscp(cpu: CpuP, i: InstrP) -> cython.void:
    read_time(cpu)
    cpu.a.regs[RCX] = cpu.a.msr.tsc_aux & cython.cast(uint64_t, 0xFFFF_FFFF)
    next_(cpu, i)
