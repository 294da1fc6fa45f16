"""The system flags: CLI STI, PUSHF POPF, CLAC STAC. SDM vol. 2; vol. 3, 20.3 (VME) and 20.4 (PVI).

With IOPL too low for IF, the virtual-8086 extensions (CR4.VME) and protected-mode virtual
interrupts (CR4.PVI) let the program work on VIF instead, and VIP tells that the system has an
interrupt for it.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.descriptor import is_v86
from cython.cimports.ringfence.core.x86.eflags import FLAGS_WRITABLE
from cython.cimports.ringfence.core.x86.faults import raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.flags import get_rflags, set_arithmetic_flags
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import next_, next_rip, peek, push, set_sp, wrap_rip
from cython.cimports.ringfence.core.x86.privilege import end_at_next, has_interrupt, iopl_of
from cython.cimports.ringfence.core.x86.state import (
    AC,
    ARITHMETIC,
    BLOCK_LIMIT,
    CR0_PE,
    CR4_PVI,
    CR4_VME,
    IF_FLAG,
    INSTR_BYTES,
    IOPL,
    JUMP_CACHE_ENTRIES,
    RF,
    RSP,
    TF,
    VIF,
    VIP,
    VM,
    CpuP,
    InstrP,
    JumpEntry,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def uses_vif(cpu: CpuP) -> cython.bint:
    """Do CLI and STI change VIF rather than IF? #GP(0) when they may change neither."""
    if not cpu.a.cr0 & CR0_PE or cpu.a.cpl <= iopl_of(cpu):
        return False
    if is_v86(cpu):
        if not cpu.a.cr4 & CR4_VME:
            raise_gp(cpu)
    elif cpu.a.cpl != 3 or not cpu.a.cr4 & CR4_PVI:
        raise_gp(cpu)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cli(cpu: CpuP, i: InstrP) -> cython.void:
    if uses_vif(cpu):
        cpu.a.rflags &= ~cython.cast(uint64_t, VIF)
    else:
        cpu.a.rflags &= ~cython.cast(uint64_t, IF_FLAG)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sti(cpu: CpuP, i: InstrP) -> cython.void:
    if uses_vif(cpu):
        if cpu.a.rflags & VIP:
            raise_gp(cpu)
        cpu.a.rflags |= VIF
    elif not cpu.a.rflags & IF_FLAG:
        cpu.a.rflags |= IF_FLAG
        if has_interrupt(cpu) or not is_ahead(cpu, i):
            cpu.a.inhibit_irq = 1
            cpu.attention = 1
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_ahead(cpu: CpuP, i: InstrP) -> cython.bint:
    """Will the instruction after STI follow at once? Then nothing can come between: no shadow is needed."""
    target: uint64_t = wrap_rip(cpu, next_rip(cpu, i))
    slot: cython.pointer(JumpEntry) = cython.address(
        cpu.jumps[(target ^ (target >> 12)) & (JUMP_CACHE_ENTRIES - 1)]
    )
    return (
        slot.rip == target
        and slot.fetch_key == cpu.fetch_key
        and cpu.attention == 0
        and cpu.budget > BLOCK_LIMIT * INSTR_BYTES
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pushf(cpu: CpuP, i: InstrP) -> cython.void:
    image: uint64_t = get_rflags(cpu) & ~cython.cast(uint64_t, VM | RF)
    if is_v86(cpu) and iopl_of(cpu) < 3:
        if not cpu.a.cr4 & CR4_VME or i.width != 1:
            raise_gp(cpu)
        image = (image | IOPL) & ~cython.cast(uint64_t, IF_FLAG)
        if image & VIF:
            image |= IF_FLAG
    push(cpu, image, 1 << i.width)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def popf(cpu: CpuP, i: InstrP) -> cython.void:
    pop_flags(cpu, 1 << i.width)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pop_flags(cpu: CpuP, size: cython.int) -> cython.void:
    image: uint64_t
    mask: uint64_t = FLAGS_WRITABLE
    if is_v86(cpu) and iopl_of(cpu) < 3:
        pop_v86_flags(cpu, size)
        return
    image = peek(cpu, 0, size)
    if cpu.a.cpl == 0:
        mask |= IOPL | IF_FLAG
    elif cpu.a.cpl <= iopl_of(cpu):
        mask |= IF_FLAG
    if size == 2:
        mask &= 0xFFFF
    set_sp(cpu, cpu.a.regs[RSP] + size)
    cpu.a.rflags &= ~cython.cast(uint64_t, RF)
    write_flags(cpu, image, mask)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pop_v86_flags(cpu: CpuP, size: cython.int) -> cython.void:
    """Virtual-8086 mode with IOPL < 3: the IF of the image goes to VIF."""
    image: uint64_t
    if not cpu.a.cr4 & CR4_VME or size != 2:
        raise_gp(cpu)
    image = peek(cpu, 0, 2)
    if image & TF or (image & IF_FLAG and cpu.a.rflags & VIP):
        raise_gp(cpu)
    set_sp(cpu, cpu.a.regs[RSP] + 2)
    if image & IF_FLAG:
        image |= VIF
    write_flags(cpu, image, (FLAGS_WRITABLE & 0xFFFF) | VIF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_flags(cpu: CpuP, image: cython.ulonglong, mask: cython.ulonglong) -> cython.void:
    old: uint64_t = cpu.a.rflags
    system: uint64_t = mask & ~cython.cast(uint64_t, ARITHMETIC)
    set_arithmetic_flags(cpu, image)
    cpu.a.rflags = (old & ~system) | (image & system)
    if (cpu.a.rflags ^ old) & (TF | AC | VM | RF):
        refresh_mode(cpu)
    if cpu.a.rflags & IF_FLAG and not old & IF_FLAG and has_interrupt(cpu):
        cpu.attention = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def clac(cpu: CpuP, i: InstrP) -> cython.void:
    """#UD outside CPL 0, unlike most."""
    if cpu.a.cpl != 0:
        raise_ud(cpu)
    cpu.a.rflags &= ~cython.cast(uint64_t, AC)
    refresh_mode(cpu)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stac(cpu: CpuP, i: InstrP) -> cython.void:
    if cpu.a.cpl != 0:
        raise_ud(cpu)
    cpu.a.rflags |= AC
    refresh_mode(cpu)
    next_(cpu, i)
