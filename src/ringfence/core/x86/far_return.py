"""Far RET and IRET in every mode: SDM vol. 2, RET and IRET; vol. 3, 5.8.6, 6.12.1, 20.2.5.

A return never goes to a more privileged level. To an outer one it takes SS:SP from the stack too,
and data segments that the outer level may not use become null. In 64-bit mode IRET takes SS:RSP
always, and SS may be null unless the return is to level 3.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.descriptor import (
    LOW_32,
    Descriptor,
    dpl_of,
    is_code,
    is_code64,
    is_conforming,
    is_long,
    is_null,
    is_present,
    is_protected,
    is_v86,
    rpl_of,
)
from cython.cimports.ringfence.core.x86.eflags import FLAGS_WRITABLE, write_flags
from cython.cimports.ringfence.core.x86.far import check_rip, commit_code
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import jump, next_rip, wrap_rip
from cython.cimports.ringfence.core.x86.privilege import iopl_of
from cython.cimports.ringfence.core.x86.segments import (
    check_stack_segment,
    commit_null,
    commit_real,
    commit_segment,
    commit_v86,
    drop_segments,
    mark_accessed,
    raise_selector,
    require_descriptor,
)
from cython.cimports.ringfence.core.x86.stack import Stack, open_current, pop_off, skip
from cython.cimports.ringfence.core.x86.state import (
    ATTR_DB,
    ATTR_L,
    CR4_VME,
    CS,
    DS,
    ES,
    FS,
    GP,
    GS,
    IF_FLAG,
    IOPL,
    NP,
    NT,
    RF,
    RSP,
    SS,
    TF,
    VIF,
    VIP,
    VM,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.task import return_from_task

#  What a return takes from the stack.
Frame = cython.struct(rip=uint64_t, cs=uint32_t, ss=uint32_t, flags=uint64_t, sp=uint64_t)
FrameP = cython.typedef(cython.pointer(Frame))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_code(cpu: CpuP, f: FrameP, code: cython.pointer(Descriptor)) -> cython.int:
    """The code segment to return to, checked; returns the privilege level it will run at."""
    rpl: cython.int = rpl_of(f.cs)
    dpl: cython.int
    require_descriptor(cpu, f.cs, GP, code)
    dpl = dpl_of(code.attr)
    if not is_code(code.attr) or rpl < cpu.a.cpl:
        raise_selector(cpu, GP, f.cs)
    if dpl > rpl if is_conforming(code.attr) else dpl != rpl:
        raise_selector(cpu, GP, f.cs)
    if is_long(cpu) and code.attr & ATTR_L and code.attr & ATTR_DB:
        raise_selector(cpu, GP, f.cs)
    if not is_present(code.attr):
        raise_selector(cpu, NP, f.cs)
    check_rip(cpu, code, f.rip)
    return rpl


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_null_stack(cpu: CpuP, f: FrameP, code: cython.pointer(Descriptor), cpl: cython.int) -> cython.bint:
    """May, and does, the return leave SS null? Only to 64-bit code of levels 0 to 2."""
    return is_null(f.ss) and is_long(cpu) and (code.attr & ATTR_L) != 0 and cpl != 3 and rpl_of(f.ss) == cpl


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def return_outer(
    cpu: CpuP, f: FrameP, code: cython.pointer(Descriptor), cpl: cython.int, extra: cython.int
) -> cython.void:
    """Commit a return that takes SS:SP from the frame; `extra` bytes of parameters go too."""
    stack: Descriptor
    null_stack: cython.bint = has_null_stack(cpu, f, code, cpl)
    from_64: cython.bint = is_code64(cpu)
    is_outer: cython.bint = cpl > cpu.a.cpl
    if not null_stack:
        check_stack_segment(cpu, f.ss, cpl, GP, cython.address(stack))
    mark_accessed(cpu, code)
    if null_stack:
        commit_null(cpu, SS, f.ss)
    else:
        commit_segment(cpu, SS, f.ss, cython.address(stack))
    if from_64 or null_stack:
        cpu.a.regs[RSP] = f.sp + extra
    elif stack.attr & ATTR_DB:
        cpu.a.regs[RSP] = (f.sp + extra) & LOW_32
    else:
        cpu.a.regs[RSP] = (cpu.a.regs[RSP] & ~cython.cast(uint64_t, 0xFFFF)) | ((f.sp + extra) & 0xFFFF)
    commit_code(cpu, code, cpl, f.rip)
    if is_outer:
        drop_segments(cpu)
        refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def return_far(cpu: CpuP, size: cython.int, extra: cython.int) -> cython.void:
    """RETF; `extra` bytes of parameters are released on both stacks."""
    code: Descriptor
    s: Stack
    f: Frame
    cpl: cython.int
    open_current(cpu, cython.address(s))
    f.rip = pop_off(cpu, cython.address(s), size)
    f.cs = cython.cast(uint32_t, pop_off(cpu, cython.address(s), size)) & 0xFFFF
    if not is_protected(cpu):
        if f.rip > cpu.a.seg[CS].limit:
            raise_gp(cpu)
        return_real(cpu, cython.address(f))
        skip(cython.address(s), extra)
        cpu.a.regs[RSP] = s.sp
        return
    cpl = read_code(cpu, cython.address(f), cython.address(code))
    skip(cython.address(s), extra)
    if cpl == cpu.a.cpl:
        mark_accessed(cpu, cython.address(code))
        cpu.a.regs[RSP] = s.sp
        commit_code(cpu, cython.address(code), cpl, f.rip)
        return
    f.sp = pop_off(cpu, cython.address(s), size)
    f.ss = cython.cast(uint32_t, pop_off(cpu, cython.address(s), size)) & 0xFFFF
    return_outer(cpu, cython.address(f), cython.address(code), cpl, extra)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def return_real(cpu: CpuP, f: FrameP) -> cython.void:
    """CS:IP in real or virtual-8086 mode."""
    if is_v86(cpu):
        commit_v86(cpu, CS, f.cs)
    else:
        commit_real(cpu, CS, f.cs)
    cpu.a.rip = f.rip
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ret_far(cpu: CpuP, i: InstrP) -> cython.void:
    return_far(cpu, 1 << i.width, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ret_far_imm(cpu: CpuP, i: InstrP) -> cython.void:
    return_far(cpu, 1 << i.width, i.imm & 0xFFFF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flags_mask(cpu: CpuP, size: cython.int) -> uint64_t:
    """The flags that IRET at this privilege level may write."""
    mask: uint64_t = FLAGS_WRITABLE
    # nothing reads RF while no breakpoint is set, and only single-stepping clears it
    if cpu.has_breakpoints:
        mask |= RF
    if cpu.a.cpl <= iopl_of(cpu):
        mask |= IF_FLAG
    if cpu.a.cpl == 0:
        mask |= IOPL
        if is_protected(cpu):
            mask |= VIF | VIP
    return mask & 0xFFFF if size == 2 else mask


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def iret_real(cpu: CpuP, s: cython.pointer(Stack), f: FrameP, size: cython.int) -> cython.void:
    """Real mode, and virtual-8086 mode with the extensions where IOPL is below 3."""
    mask: uint64_t = flags_mask(cpu, size)
    if is_v86(cpu) and iopl_of(cpu) < 3:
        if f.flags & TF or (f.flags & IF_FLAG and cpu.a.rflags & VIP):
            raise_gp(cpu)
        mask |= VIF
        if f.flags & IF_FLAG:
            f.flags |= VIF
    if f.rip > cpu.a.seg[CS].limit:
        raise_gp(cpu)
    cpu.a.regs[RSP] = s.sp
    return_real(cpu, f)
    write_flags(cpu, f.flags, mask)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def iret_to_v86(cpu: CpuP, s: cython.pointer(Stack), f: FrameP) -> cython.void:
    k: cython.int
    selectors: uint32_t[6]
    f.sp = pop_off(cpu, s, 4)
    selectors[CS] = f.cs
    selectors[SS] = cython.cast(uint32_t, pop_off(cpu, s, 4))
    selectors[ES] = cython.cast(uint32_t, pop_off(cpu, s, 4))
    selectors[DS] = cython.cast(uint32_t, pop_off(cpu, s, 4))
    selectors[FS] = cython.cast(uint32_t, pop_off(cpu, s, 4))
    selectors[GS] = cython.cast(uint32_t, pop_off(cpu, s, 4))
    for k in range(6):
        commit_v86(cpu, k, selectors[k] & 0xFFFF)
    cpu.a.cpl = 3
    cpu.a.regs[RSP] = f.sp
    cpu.a.rip = f.rip & 0xFFFF
    write_flags(cpu, f.flags, FLAGS_WRITABLE | IF_FLAG | IOPL | VM | VIF | VIP)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def iret_protected(cpu: CpuP, s: cython.pointer(Stack), f: FrameP, size: cython.int) -> cython.void:
    code: Descriptor
    cpl: cython.int = read_code(cpu, f, cython.address(code))
    mask: uint64_t = flags_mask(cpu, size)
    if cpl == cpu.a.cpl and not is_code64(cpu):
        mark_accessed(cpu, cython.address(code))
        cpu.a.regs[RSP] = s.sp
        commit_code(cpu, cython.address(code), cpl, f.rip)
    else:
        f.sp = pop_off(cpu, s, size)
        f.ss = cython.cast(uint32_t, pop_off(cpu, s, size)) & 0xFFFF
        return_outer(cpu, f, cython.address(code), cpl, 0)
    write_flags(cpu, f.flags, mask)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_iret(cpu: CpuP, i: InstrP) -> cython.void:
    s: Stack
    f: Frame
    size: cython.int = 1 << i.width
    if is_protected(cpu) and cpu.a.rflags & NT:
        if is_long(cpu):
            raise_gp(cpu)
        return_from_task(cpu, wrap_rip(cpu, next_rip(cpu, i)))
        return
    if is_v86(cpu) and iopl_of(cpu) < 3 and (size != 2 or not cpu.a.cr4 & CR4_VME):
        raise_gp(cpu)
    open_current(cpu, cython.address(s))
    f.rip = pop_off(cpu, cython.address(s), size)
    f.cs = cython.cast(uint32_t, pop_off(cpu, cython.address(s), size)) & 0xFFFF
    f.flags = pop_off(cpu, cython.address(s), size)
    if not is_protected(cpu):
        iret_real(cpu, cython.address(s), cython.address(f), size)
    elif f.flags & VM and cpu.a.cpl == 0 and size == 4 and not is_long(cpu):
        iret_to_v86(cpu, cython.address(s), cython.address(f))
    else:
        iret_protected(cpu, cython.address(s), cython.address(f), size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def iret(cpu: CpuP, i: InstrP) -> cython.void:
    """IRET also ends the blocking of NMIs. After a task switch there is no block to go on from."""
    do_iret(cpu, i)
    if cpu.a.nmi_blocked:
        cpu.a.nmi_blocked = 0
        cpu.attention = 1
    if cpu.first != cython.NULL:
        jump(cpu, i, cpu.a.rip)
