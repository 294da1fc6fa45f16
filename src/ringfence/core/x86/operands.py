"""Memory operands where something can fail: segment bases, limits and types (SDM vol. 3, 5.3-5.5)."""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import is_canonical
from cython.cimports.ringfence.core.x86.faults import raise_error, raise_gp
from cython.cimports.ringfence.core.x86.operands import ea_offset, jump, wrap_ea
from cython.cimports.ringfence.core.x86.state import (
    ATTR_CODE,
    ATTR_DB,
    ATTR_EXPAND_DOWN,
    ATTR_NULL,
    ATTR_P,
    ATTR_WRITABLE,
    CS,
    FS,
    GP,
    MODE_CODE64,
    MODE_CODE_MASK,
    MODE_PROTECTED,
    SS,
    SS_VECTOR,
    CpuP,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def linear(cpu: CpuP, seg: cython.int, offset: uint64_t, size: cython.int, is_write: cython.int) -> uint64_t:
    """Linear address of seg:offset for an access of ``size`` bytes; #GP or #SS if refused."""
    attr: uint32_t
    low: uint64_t
    high: uint64_t
    is_ok: cython.bint
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        if seg >= FS:
            return cpu.a.seg[seg].base + offset
        return offset
    attr = cpu.a.seg[seg].attr
    low = 0
    high = cpu.a.seg[seg].limit
    is_ok = attr & ATTR_P and not attr & ATTR_NULL
    if attr & ATTR_CODE:
        # in real and virtual-8086 mode a write through CS is allowed
        if cpu.mode & MODE_PROTECTED:
            is_ok = is_ok and not is_write and attr & ATTR_WRITABLE
    else:
        if is_write and not attr & ATTR_WRITABLE and cpu.mode & MODE_PROTECTED:
            is_ok = False
        if attr & ATTR_EXPAND_DOWN:
            low = high + 1
            high = cython.cast(uint64_t, 0xFFFFFFFF) if attr & ATTR_DB else 0xFFFF
    if not is_ok or offset < low or offset + size - 1 > high:
        raise_error(cpu, SS_VECTOR if seg == SS else GP, 0)
    return cython.cast(uint32_t, cpu.a.seg[seg].base + offset)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ea_general(cpu: CpuP, i: InstrP, size: cython.int, is_write: cython.int) -> uint64_t:
    return linear(cpu, i.seg, wrap_ea(i, ea_offset(cpu, i)), size, is_write)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stack_general(cpu: CpuP, offset: uint64_t, size: cython.int, is_write: cython.int) -> uint64_t:
    return linear(cpu, SS, offset, size, is_write)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def branch_to(cpu: CpuP, target: uint64_t) -> cython.void:
    """Set RIP within the code segment: canonical or below the limit, else #GP(0)."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        if not is_canonical(cpu, target):
            raise_gp(cpu)
    else:
        target = cython.cast(uint32_t, target)
        if target > cpu.a.seg[CS].limit:
            raise_gp(cpu)
    cpu.a.rip = target


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def dispatch(cpu: CpuP) -> cython.void:
    """Go on at cpu.a.rip, set by the instruction that ended the running block."""
    jump(cpu, cpu.current, cpu.a.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def jump_checked(cpu: CpuP, i: InstrP, target: uint64_t) -> cython.void:
    """A branch whose target may be refused."""
    branch_to(cpu, target)
    jump(cpu, i, cpu.a.rip)
