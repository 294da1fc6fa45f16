"""Debug registers, breakpoints and single step: SDM vol. 3, chapter 18.

Instruction breakpoints are faults, raised before the instruction. Data and port breakpoints and
TF are traps: they gather in ``pending_dr6`` and the run loop delivers one #DB after the
instruction. While DR7 enables anything, every access takes the checked path (mode.py).
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.debug import (
    DR6_BD,
    DR6_BS,
    DR6_ONES,
    DR6_WRITABLE,
    DR7_GD,
    DR7_ONES,
    DR7_WRITABLE,
)
from cython.cimports.ringfence.core.x86.descriptor import LOW_32, is_code64
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.operands import next_, set_reg
from cython.cimports.ringfence.core.x86.privilege import end_at_next, require_cpl0
from cython.cimports.ringfence.core.x86.state import ACCESS_WRITE, CR4_DE, CS, DB, CpuP, InstrP


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_enabled(cpu: CpuP, n: cython.int) -> cython.bint:
    return (cpu.a.dr[7] >> (2 * n)) & 3 != 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def kind_of(cpu: CpuP, n: cython.int) -> cython.int:
    """R/W of breakpoint n: 0 execution, 1 data writes, 2 ports (with CR4.DE), 3 data."""
    return (cpu.a.dr[7] >> (16 + 4 * n)) & 3


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def length_of(cpu: CpuP, n: cython.int) -> uint64_t:
    """LEN 0 1 2 3: 1, 2, 8, 4 bytes."""
    length: cython.int = (cpu.a.dr[7] >> (18 + 4 * n)) & 3
    if length == 2:
        return 8
    return length + 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def covers(cpu: CpuP, n: cython.int, at: uint64_t, size: cython.int) -> cython.bint:
    """Does breakpoint n, aligned to its length, touch [at, at+size)?"""
    length: uint64_t = length_of(cpu, n)
    start: uint64_t = cpu.a.dr[n] & ~(length - 1)
    return start - at < cython.cast(uint64_t, size) or at - start < length


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pend_trap(cpu: CpuP, bits: uint64_t) -> cython.void:
    cpu.a.pending_dr6 |= bits
    cpu.a.pending_db = 1
    cpu.attention = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_code_breakpoints(cpu: CpuP) -> cython.void:
    n: cython.int
    hits: uint64_t = 0
    at: uint64_t = cpu.a.rip
    if not is_code64(cpu):
        at = (at + cpu.a.seg[CS].base) & LOW_32
    for n in range(4):
        if is_enabled(cpu, n) and kind_of(cpu, n) == 0 and cpu.a.dr[n] == at:
            hits |= cython.cast(uint64_t, 1) << n
    if hits:
        cpu.a.dr[6] = (cpu.a.dr[6] & ~cython.cast(uint64_t, 15)) | hits
        raise_fault(cpu, DB)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_watchpoint(cpu: CpuP, la: uint64_t, size: cython.int, access: cython.int) -> cython.void:
    n: cython.int
    for n in range(4):
        if (
            is_enabled(cpu, n)
            and (kind_of(cpu, n) == 3 or (kind_of(cpu, n) == 1 and access == ACCESS_WRITE))
            and covers(cpu, n, la, size)
        ):
            pend_trap(cpu, cython.cast(uint64_t, 1) << n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_port_breakpoints(cpu: CpuP, port: uint32_t, size: cython.int) -> cython.void:
    n: cython.int
    if cpu.a.cr4 & CR4_DE:
        for n in range(4):
            if is_enabled(cpu, n) and kind_of(cpu, n) == 2 and covers(cpu, n, port, size):
                pend_trap(cpu, cython.cast(uint64_t, 1) << n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note_single_step(cpu: CpuP) -> cython.void:
    """A load of SS holds the trap back for good; so does the delivery of INT n, which cleared TF."""
    if cpu.step_is_quiet:
        cpu.step_is_quiet = 0
    elif not cpu.a.inhibit_db:
        pend_trap(cpu, DR6_BS)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def debug_register(cpu: CpuP, i: InstrP) -> cython.int:
    """The register that MOV DR names, after the checks: DR4 and DR5 are DR6 and DR7, or #UD."""
    n: cython.int = i.reg
    if n > 7 or ((n == 4 or n == 5) and cpu.a.cr4 & CR4_DE):
        raise_ud(cpu)
    require_cpl0(cpu)
    if cpu.a.dr[7] & DR7_GD:
        cpu.a.dr[6] |= DR6_BD
        raise_fault(cpu, DB)
    return n + 2 if n == 4 or n == 5 else n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mov_from_dr(cpu: CpuP, i: InstrP) -> cython.void:
    set_reg(cpu, i.rm, cpu.a.dr[debug_register(cpu, i)], 8 if is_code64(cpu) else 4)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mov_to_dr(cpu: CpuP, i: InstrP) -> cython.void:
    n: cython.int = debug_register(cpu, i)
    value: uint64_t = cpu.a.regs[i.rm]
    if not is_code64(cpu):
        value &= LOW_32
    if n >= 6 and value >> 32:
        raise_gp(cpu)
    if n == 6:
        value = (value & DR6_WRITABLE) | DR6_ONES
    elif n == 7:
        value = (value & DR7_WRITABLE) | DR7_ONES
    cpu.a.dr[n] = value
    refresh_mode(cpu)
    end_at_next(cpu, i)
