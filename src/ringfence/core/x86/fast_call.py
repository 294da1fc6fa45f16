"""Fast system calls: SYSCALL SYSRET SYSENTER SYSEXIT. SDM vol. 2 and vol. 3, 5.8.7; APM vol. 2, 6.1.

Vendors differ: on Intel SYSCALL exists only in 64-bit mode, on AMD SYSENTER only outside long
mode, and only Intel's SYSRET checks the return address while still at CPL 0.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.cpuid import is_amd
from cython.cimports.ringfence.core.x86.debug import DR6_BS, pend_trap
from cython.cimports.ringfence.core.x86.descriptor import LOW_32, is_canonical, is_code64, is_long
from cython.cimports.ringfence.core.x86.eflags import write_flags
from cython.cimports.ringfence.core.x86.faults import raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.flags import get_rflags
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import jump, next_rip, wrap_rip
from cython.cimports.ringfence.core.x86.privilege import require_cpl0
from cython.cimports.ringfence.core.x86.segments import commit
from cython.cimports.ringfence.core.x86.state import (
    ATTR_DB,
    ATTR_DPL_SHIFT,
    ATTR_G,
    ATTR_L,
    CR0_PE,
    CS,
    EFER_SCE,
    IF_FLAG,
    INSTR_REX_W,
    R11,
    RCX,
    RDX,
    RF,
    RSP,
    SS,
    TF,
    VM,
    CpuP,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_flat(cpu: CpuP, cs: uint32_t, ss: uint32_t, cpl: cython.int, is_64: cython.bint) -> cython.void:
    """CS and SS as fast calls set them, without looking at any descriptor."""
    dpl: uint32_t = cpl << ATTR_DPL_SHIFT
    size: uint32_t = ATTR_L if is_64 else ATTR_DB
    limit: uint32_t = cython.cast(uint32_t, LOW_32)
    commit(cpu, CS, (cs & 0xFFFC) | cpl, 0, limit, 0x9B | dpl | ATTR_G | size)
    commit(cpu, SS, (ss & 0xFFFC) | cpl, 0, limit, 0x93 | dpl | ATTR_G | ATTR_DB)
    cpu.a.cpl = cpl
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def trap_by_new_flags(cpu: CpuP, old_flags: uint64_t) -> cython.void:
    """SYSCALL and SYSRET trap by the TF that they leave, every other instruction by the one it finds."""
    if (old_flags ^ cpu.a.rflags) & TF:
        if cpu.a.rflags & TF:
            pend_trap(cpu, DR6_BS)
        else:
            cpu.step_is_quiet = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def syscall(cpu: CpuP, i: InstrP) -> cython.void:
    flags: uint64_t
    old_flags: uint64_t = cpu.a.rflags
    star: uint32_t = (cpu.a.msr.star >> 32) & 0xFFFF
    if not cpu.a.msr.efer & EFER_SCE or not (is_code64(cpu) or is_amd(cpu)) or not cpu.a.cr0 & CR0_PE:
        raise_ud(cpu)
    cpu.a.regs[RCX] = wrap_rip(cpu, next_rip(cpu, i))
    if is_long(cpu):
        flags = get_rflags(cpu) & ~cython.cast(uint64_t, RF)
        cpu.a.regs[R11] = flags
        cpu.a.rip = cpu.a.msr.lstar if is_code64(cpu) else cpu.a.msr.cstar
        flags = flags & ~cpu.a.msr.sfmask
        enter_flat(cpu, star, star + 8, 0, True)
        write_flags(cpu, flags, cython.cast(uint64_t, -1))
        trap_by_new_flags(cpu, old_flags)
    else:
        cpu.a.rip = cpu.a.msr.star & LOW_32
        cpu.a.rflags &= ~cython.cast(uint64_t, VM | IF_FLAG | RF)
        enter_flat(cpu, star, star + 8, 0, False)
    jump(cpu, i, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sysret(cpu: CpuP, i: InstrP) -> cython.void:
    old_flags: uint64_t = cpu.a.rflags
    star: uint32_t = cython.cast(uint32_t, cpu.a.msr.star >> 48)
    is_64: cython.bint = (i.attr & INSTR_REX_W) != 0
    from_long: cython.bint = is_long(cpu)
    if not cpu.a.msr.efer & EFER_SCE or not (is_code64(cpu) or is_amd(cpu)):
        raise_ud(cpu)
    require_cpl0(cpu)
    if not cpu.a.cr0 & CR0_PE or (is_64 and not is_amd(cpu) and not is_canonical(cpu.a.regs[RCX])):
        raise_gp(cpu)
    cpu.a.rip = cpu.a.regs[RCX] if is_64 else cpu.a.regs[RCX] & LOW_32
    enter_flat(cpu, star + 16 if is_64 else star, star + 8, 3, is_64)
    if from_long:
        write_flags(cpu, cpu.a.regs[R11], 0x3C7FD7)
        trap_by_new_flags(cpu, old_flags)
    else:
        write_flags(cpu, get_rflags(cpu) | IF_FLAG, IF_FLAG)
    jump(cpu, i, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sysenter(cpu: CpuP, i: InstrP) -> cython.void:
    cs: uint32_t = cpu.a.msr.sysenter_cs & 0xFFFC
    is_64: cython.bint = is_long(cpu)
    if is_64 and is_amd(cpu):
        raise_ud(cpu)
    if not cpu.a.cr0 & CR0_PE or cs == 0:
        raise_gp(cpu)
    cpu.a.rflags &= ~cython.cast(uint64_t, VM | IF_FLAG | RF)
    cpu.a.regs[RSP] = cpu.a.msr.sysenter_esp if is_64 else cpu.a.msr.sysenter_esp & LOW_32
    cpu.a.rip = cpu.a.msr.sysenter_eip if is_64 else cpu.a.msr.sysenter_eip & LOW_32
    enter_flat(cpu, cs, cs + 8, 0, is_64)
    jump(cpu, i, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sysexit(cpu: CpuP, i: InstrP) -> cython.void:
    cs: uint32_t = cpu.a.msr.sysenter_cs & 0xFFFC
    is_64: cython.bint = (i.attr & INSTR_REX_W) != 0
    if is_long(cpu) and is_amd(cpu):
        raise_ud(cpu)
    require_cpl0(cpu)
    if not cpu.a.cr0 & CR0_PE or cs == 0:
        raise_gp(cpu)
    if is_64 and not (is_canonical(cpu.a.regs[RCX]) and is_canonical(cpu.a.regs[RDX])):
        raise_gp(cpu)
    cpu.a.regs[RSP] = cpu.a.regs[RCX] if is_64 else cpu.a.regs[RCX] & LOW_32
    cpu.a.rip = cpu.a.regs[RDX] if is_64 else cpu.a.regs[RDX] & LOW_32
    enter_flat(cpu, cs + 32 if is_64 else cs + 16, cs + 40 if is_64 else cs + 24, 3, is_64)
    jump(cpu, i, cpu.a.rip)
