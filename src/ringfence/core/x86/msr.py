"""Model-specific registers: RDMSR and WRMSR. SDM vol. 4; tables/msr.tbl.

The table says which registers exist and what may be written; those that do more than remember a
value are here. An unknown register is #GP, and counted.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.exits import EXIT_IPI
from cython.cimports.ringfence.core.x86._gen_features import FEATURE_LM, FEATURE_NX, FEATURE_SYSCALL
from cython.cimports.ringfence.core.x86._gen_msr import (
    MSR_APIC_BASE,
    MSR_EFER,
    MSR_FS_BASE,
    MSR_GS_BASE,
    MSR_KVM_SYSTEM_TIME,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_WALL_CLOCK,
    MSR_KVM_WALL_CLOCK_NEW,
    MSR_PRED_CMD,
    MSR_TSC,
    MSR_TSC_ADJUST,
    MSR_TSC_DEADLINE,
    MSR_UCODE_WRITE,
    MSR_X2APIC,
    MSR_X2APIC_LAST,
    find_field,
    find_rule,
)
from cython.cimports.ringfence.core.x86.cpuid import has_feature
from cython.cimports.ringfence.core.x86.descriptor import LOW_32, is_canonical
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.kvm_clock import refresh_clock, set_system_time, set_wall_clock
from cython.cimports.ringfence.core.x86.lapic import lapic_rdmsr, lapic_set_tsc_offset, lapic_wrmsr
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.msr_rule import (
    MSR_CANONICAL,
    MSR_CONSTANT,
    MSR_FIELD,
    MSR_IGNORES_WRITES,
    MsrRule,
)
from cython.cimports.ringfence.core.x86.mtrr import read_mtrr, write_mtrr
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.privilege import end_at_next, require_cpl0
from cython.cimports.ringfence.core.x86.state import (
    CR0_PG,
    EFER_LMA,
    EFER_LME,
    EFER_NXE,
    EFER_SCE,
    FS,
    GS,
    RAX,
    RCX,
    RDX,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.time import guest_ns, read_tsc
from cython.cimports.ringfence.core.x86.tlb import flush_tlb


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find(cpu: CpuP, index: uint32_t, rule: cython.pointer(MsrRule)) -> cython.bint:
    """The rule of a register that this model has."""
    if find_rule(index, rule) and (rule.feature < 0 or has_feature(cpu, rule.feature)):
        return True
    cpu.count.unknown_msrs += 1
    return False


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_apic(index: uint32_t) -> cython.bint:
    return index == MSR_APIC_BASE or index == MSR_TSC_DEADLINE or MSR_X2APIC <= index <= MSR_X2APIC_LAST


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_msr(cpu: CpuP, index: uint32_t, value: cython.pointer(uint64_t)) -> cython.bint:
    rule: MsrRule
    if not find(cpu, index, cython.address(rule)):
        return False
    if rule.kind == MSR_FIELD or rule.kind == MSR_CANONICAL:
        value[0] = find_field(cpu, index)[0]
        return True
    if rule.kind == MSR_CONSTANT or rule.kind == MSR_IGNORES_WRITES:
        value[0] = rule.value
        return True
    return read_special(cpu, index, value)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_special(cpu: CpuP, index: uint32_t, value: cython.pointer(uint64_t)) -> cython.bint:
    if is_apic(index):
        return lapic_rdmsr(cython.address(cpu.a.lapic), index, value, guest_ns(cpu))
    if index == MSR_TSC:
        value[0] = read_tsc(cpu)
    elif index == MSR_TSC_ADJUST:
        value[0] = cython.cast(uint64_t, cpu.a.lapic.tsc_offset)
    elif index == MSR_EFER:
        value[0] = cpu.a.msr.efer
    elif index == MSR_FS_BASE:
        value[0] = cpu.a.seg[FS].base
    elif index == MSR_GS_BASE:
        value[0] = cpu.a.seg[GS].base
    elif index == MSR_KVM_SYSTEM_TIME or index == MSR_KVM_SYSTEM_TIME_NEW:
        value[0] = cpu.a.msr.kvm_system_time
    elif index == MSR_KVM_WALL_CLOCK or index == MSR_KVM_WALL_CLOCK_NEW:
        value[0] = cpu.a.msr.kvm_wall_clock
    elif index == MSR_PRED_CMD or index == MSR_UCODE_WRITE:
        return False
    else:
        return read_mtrr(cpu, index, value)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_msr(cpu: CpuP, index: uint32_t, value: uint64_t) -> cython.bint:
    rule: MsrRule
    if not find(cpu, index, cython.address(rule)):
        return False
    if rule.kind == MSR_FIELD:
        if value & ~rule.mask:
            return False
        find_field(cpu, index)[0] = value
        return True
    if rule.kind == MSR_CANONICAL:
        if not is_canonical(value):
            return False
        find_field(cpu, index)[0] = value
        return True
    if rule.kind == MSR_CONSTANT or rule.kind == MSR_IGNORES_WRITES:
        return rule.kind == MSR_IGNORES_WRITES
    return write_special(cpu, index, value)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_special(cpu: CpuP, index: uint32_t, value: uint64_t) -> cython.bint:
    if is_apic(index):
        return write_apic(cpu, index, value)
    if index == MSR_EFER:
        return write_efer(cpu, value)
    if index == MSR_FS_BASE or index == MSR_GS_BASE:
        if not is_canonical(value):
            return False
        cpu.a.seg[FS if index == MSR_FS_BASE else GS].base = value
        return True
    if index == MSR_TSC or index == MSR_TSC_ADJUST:
        # a write to the TSC moves TSC_ADJUST along, so both are the one offset
        lapic_set_tsc_offset(
            cython.address(cpu.a.lapic), value - guest_ns(cpu) if index == MSR_TSC else value
        )
        refresh_clock(cpu)
        cpu.attention = 1
        return True
    if index == MSR_KVM_SYSTEM_TIME or index == MSR_KVM_SYSTEM_TIME_NEW:
        set_system_time(cpu, value)
        return True
    if index == MSR_KVM_WALL_CLOCK or index == MSR_KVM_WALL_CLOCK_NEW:
        set_wall_clock(cpu, value)
        return True
    if index == MSR_PRED_CMD:
        return value <= 1
    if index == MSR_UCODE_WRITE:
        return True
    return write_mtrr(cpu, index, value)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_apic(cpu: CpuP, index: uint32_t, value: uint64_t) -> cython.bint:
    result: cython.int = lapic_wrmsr(cython.address(cpu.a.lapic), index, value, guest_ns(cpu))
    cpu.attention = 1
    if result == 2:
        cpu.exit.reason = EXIT_IPI
    return result != 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_efer(cpu: CpuP, value: uint64_t) -> cython.bint:
    """LMA is the processor's own; LME can't change while paging is on."""
    allowed: uint64_t = EFER_LMA
    changed: uint64_t = (value ^ cpu.a.msr.efer) & ~cython.cast(uint64_t, EFER_LMA)
    if has_feature(cpu, FEATURE_SYSCALL):
        allowed |= EFER_SCE
    if has_feature(cpu, FEATURE_LM):
        allowed |= EFER_LME
    if has_feature(cpu, FEATURE_NX):
        allowed |= EFER_NXE
    if value & ~allowed or (changed & EFER_LME and cpu.a.cr0 & CR0_PG):
        return False
    cpu.a.msr.efer ^= changed
    if changed & EFER_NXE:
        flush_tlb(cpu, False)
    refresh_mode(cpu)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_rdmsr(cpu: CpuP) -> cython.void:
    value: uint64_t = 0
    require_cpl0(cpu)
    if not read_msr(cpu, cython.cast(uint32_t, cpu.a.regs[RCX]), cython.address(value)):
        raise_gp(cpu)
    cpu.a.regs[RAX] = value & LOW_32
    cpu.a.regs[RDX] = value >> 32


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdmsr(cpu: CpuP, i: InstrP) -> cython.void:
    do_rdmsr(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def wrmsr(cpu: CpuP, i: InstrP) -> cython.void:
    value: uint64_t = (cpu.a.regs[RDX] << 32) | (cpu.a.regs[RAX] & LOW_32)
    require_cpl0(cpu)
    if not write_msr(cpu, cython.cast(uint32_t, cpu.a.regs[RCX]), value):
        raise_gp(cpu)
    end_at_next(cpu, i)
