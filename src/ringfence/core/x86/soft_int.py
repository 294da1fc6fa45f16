"""Software interrupts: INT n, INT3, INTO, INT1, and BOUND. SDM vol. 2; vol. 3, 20.3 (VME).

What is pushed is the address of the next instruction; when delivery itself faults, RIP is still
the instruction's own, so it is run again.
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load, load_system
from cython.cimports.ringfence.core.x86.descriptor import is_v86
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_gp
from cython.cimports.ringfence.core.x86.flags import get_of, get_rflags, sign_extend
from cython.cimports.ringfence.core.x86.interrupts import EVENT_SOFTWARE, EVENT_TRAP, deliver
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, next_rip, wrap_rip
from cython.cimports.ringfence.core.x86.privilege import end_at_next, iopl_of
from cython.cimports.ringfence.core.x86.segments import commit_v86
from cython.cimports.ringfence.core.x86.stack import Stack, open_current, push_on
from cython.cimports.ringfence.core.x86.state import (
    BP,
    BR,
    CR4_VME,
    CS,
    DB,
    IF_FLAG,
    IOPL,
    OF_VECTOR,
    RSP,
    TF,
    VIF,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.task import is_redirected


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def int_redirected(cpu: CpuP, vector: cython.int, rip: uint64_t) -> cython.void:
    """VME: to the 8086 program's own handler, by the table at linear address 0."""
    s: Stack
    entry: uint32_t = cython.cast(uint32_t, load_system(cpu, vector * 4, 4))
    flags: uint64_t = get_rflags(cpu)
    if iopl_of(cpu) < 3:
        flags = (flags | IOPL) & ~cython.cast(uint64_t, IF_FLAG)
        if flags & VIF:
            flags |= IF_FLAG
    open_current(cpu, cython.address(s))
    push_on(cpu, cython.address(s), flags, 2)
    push_on(cpu, cython.address(s), cpu.a.seg[CS].selector, 2)
    push_on(cpu, cython.address(s), rip, 2)
    cpu.a.rflags &= ~cython.cast(uint64_t, (IF_FLAG if iopl_of(cpu) == 3 else VIF) | TF)
    cpu.a.regs[RSP] = s.sp
    commit_v86(cpu, CS, entry >> 16)
    cpu.a.rip = entry & 0xFFFF
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def int_n(cpu: CpuP, i: InstrP) -> cython.void:
    vector: cython.int = i.imm & 0xFF
    rip: uint64_t = wrap_rip(cpu, next_rip(cpu, i))
    if is_v86(cpu):
        if cpu.a.cr4 & CR4_VME and is_redirected(cpu, vector):
            int_redirected(cpu, vector, rip)
            return
        if iopl_of(cpu) < 3:
            raise_gp(cpu)
    deliver(cpu, vector, EVENT_SOFTWARE, False, 0, rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def int3(cpu: CpuP, i: InstrP) -> cython.void:
    """Never redirected, and IOPL does not matter."""
    cpu.count.exceptions[BP] += 1
    deliver(cpu, BP, EVENT_SOFTWARE, False, 0, wrap_rip(cpu, next_rip(cpu, i)))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def into(cpu: CpuP, i: InstrP) -> cython.void:
    if get_of(cpu):
        cpu.count.exceptions[OF_VECTOR] += 1
        deliver(cpu, OF_VECTOR, EVENT_SOFTWARE, False, 0, wrap_rip(cpu, next_rip(cpu, i)))
    else:
        end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def int1(cpu: CpuP, i: InstrP) -> cython.void:
    """#DB that no DPL guards; DR6 says nothing of it. Traps that a load of SS held back come with it."""
    cpu.a.dr[6] |= cpu.a.pending_dr6
    cpu.a.pending_db = 0
    cpu.a.pending_dr6 = 0
    cpu.count.exceptions[DB] += 1
    deliver(cpu, DB, EVENT_TRAP, False, 0, wrap_rip(cpu, next_rip(cpu, i)))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bound(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    la: uint64_t = ea(cpu, i, 2 * size, 0)
    index: int64_t = sign_extend(get_reg(cpu, i.reg, size), 8 * size)
    if index < sign_extend(load(cpu, la, size), 8 * size) or (
        index > sign_extend(load(cpu, la + size, size), 8 * size)
    ):
        raise_fault(cpu, BR)
    next_(cpu, i)
