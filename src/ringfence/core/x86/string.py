"""String instructions: SDM vol. 2, MOVS CMPS STOS LODS SCAS, with REP.

A repeated MOVS or STOS upward moves a page's worth at a time where both sides are plain RAM;
everything else goes element by element. Registers are up to date after each turn, so a fault or
an interrupt finds the instruction restartable where it stands.
"""

import cython
from cython.cimports.libc.stdint import (
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.libc.string import memmove, memset
from cython.cimports.ringfence.core.x86.access import load, probe, store
from cython.cimports.ringfence.core.x86.flags import get_zf
from cython.cimports.ringfence.core.x86.operands import (
    get_reg,
    next_,
    rip_of,
    set_address_reg,
    set_reg,
    string_address,
    wrap_ea,
)
from cython.cimports.ringfence.core.x86.physical import commit_accesses
from cython.cimports.ringfence.core.x86.semantics import sem_sub
from cython.cimports.ringfence.core.x86.state import (
    DF,
    ES,
    INSTR_BYTES,
    INSTR_REP,
    INSTR_REPNE,
    RAX,
    RCX,
    RDI,
    RSI,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.string import CMPS, LODS, MOVS, SCAS, STOS


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_repeated(i: InstrP) -> cython.bint:
    return i.attr & (INSTR_REP | INSTR_REPNE) != 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def step(cpu: CpuP, i: InstrP, index: cython.int, elements: int64_t) -> cython.void:
    """Move RSI or RDI by a number of elements in the direction of DF."""
    delta: int64_t = elements << i.width
    if cpu.a.rflags & DF:
        delta = -delta
    set_address_reg(cpu, i, index, cpu.a.regs[index] + cython.cast(uint64_t, delta))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def source(cpu: CpuP, i: InstrP, size: cython.int) -> uint64_t:
    return string_address(cpu, i, i.seg, wrap_ea(i, cpu.a.regs[RSI]), size, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def target(cpu: CpuP, i: InstrP, size: cython.int, is_write: cython.int) -> uint64_t:
    return string_address(cpu, i, ES, wrap_ea(i, cpu.a.regs[RDI]), size, is_write)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_of(cpu: CpuP, i: InstrP, index: cython.int, room: uint64_t, count: uint64_t) -> uint64_t:
    """How many elements fit before the page, the address size or the count ends."""
    n: uint64_t = room >> i.width
    to_wrap: uint64_t
    if i.asize != 8:
        to_wrap = ((cython.cast(uint64_t, 1) << (8 * i.asize)) - wrap_ea(i, cpu.a.regs[index])) >> i.width
        n = min(n, to_wrap)
    return min(n, count)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def copy_run(cpu: CpuP, i: InstrP, count: uint64_t) -> uint64_t:
    """REP MOVS upward over plain RAM: the number of elements moved at once, 0 if it can't be."""
    size: cython.int = 1 << i.width
    room: uint64_t = 0
    host_from: cython.pointer(uint8_t) = probe(cpu, source(cpu, i, size), 0, cython.address(room))
    host_to: cython.pointer(uint8_t)
    n: uint64_t
    if host_from == cython.NULL:
        return 0
    n = run_of(cpu, i, RSI, room, count)
    host_to = probe(cpu, target(cpu, i, size, 1), 1, cython.address(room))
    if host_to == cython.NULL:
        return 0
    n = run_of(cpu, i, RDI, room, n)
    if i.ea_form > 1 and n > 1:
        # segmented: the run's last element must pass the same checks; else one at a time
        n = 0
    # an overlap with the target ahead of the source repeats what it just wrote
    if cython.cast(uint64_t, host_to - host_from) < n << i.width:
        return 0
    # SAFETY: run_of() kept the elements within both pages
    memmove(host_to, host_from, n << i.width)
    return n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fill_run(cpu: CpuP, i: InstrP, count: uint64_t) -> uint64_t:
    """REP STOS upward over plain RAM."""
    size: cython.int = 1 << i.width
    room: uint64_t = 0
    host: cython.pointer(uint8_t) = probe(cpu, target(cpu, i, size, 1), 1, cython.address(room))
    value: uint64_t = cpu.a.regs[RAX]
    n: uint64_t
    k: uint64_t
    if host == cython.NULL or i.ea_form > 1:
        return 0
    # SAFETY: below, `n` elements of `size` bytes fit in the page
    n = run_of(cpu, i, RDI, room, count)
    if size == 1:
        memset(host, cython.cast(uint8_t, value), n)
    elif size == 2:
        for k in range(n):
            cython.cast(cython.pointer(uint16_t), host)[k] = cython.cast(uint16_t, value)
    elif size == 4:
        for k in range(n):
            cython.cast(cython.pointer(uint32_t), host)[k] = cython.cast(uint32_t, value)
    else:
        for k in range(n):
            cython.cast(cython.pointer(uint64_t), host)[k] = value
    return n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_movs(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    store(cpu, target(cpu, i, size, 1), load(cpu, source(cpu, i, size), size), size)
    step(cpu, i, RSI, 1)
    step(cpu, i, RDI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_stos(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    store(cpu, target(cpu, i, size, 1), get_reg(cpu, RAX, size), size)
    step(cpu, i, RDI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_lods(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    set_reg(cpu, RAX, load(cpu, source(cpu, i, size), size), size)
    step(cpu, i, RSI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_cmps(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    a: uint64_t = load(cpu, source(cpu, i, size), size)
    b: uint64_t = load(cpu, target(cpu, i, size, 0), size)
    sem_sub(cpu, a, b, 8 * size)
    step(cpu, i, RSI, 1)
    step(cpu, i, RDI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def one_scas(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    sem_sub(cpu, get_reg(cpu, RAX, size), load(cpu, target(cpu, i, size, 0), size), 8 * size)
    step(cpu, i, RDI, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def repeat(cpu: CpuP, i: InstrP, kind: cython.int) -> cython.bint:
    """All turns of a repeated instruction. False: stopped half-way for something more urgent, with
    RIP on the instruction itself."""
    count: uint64_t
    n: uint64_t
    while True:
        count = wrap_ea(i, cpu.a.regs[RCX])
        if count == 0:
            return True
        n = 0
        if kind == MOVS:
            if count > 1 and not cpu.a.rflags & DF:
                n = copy_run(cpu, i, count)
            if n:
                step(cpu, i, RSI, n)
                step(cpu, i, RDI, n)
            else:
                one_movs(cpu, i)
        elif kind == STOS:
            if count > 1 and not cpu.a.rflags & DF:
                n = fill_run(cpu, i, count)
            if n:
                step(cpu, i, RDI, n)
            else:
                one_stos(cpu, i)
        elif kind == LODS:
            one_lods(cpu, i)
        elif kind == CMPS:
            one_cmps(cpu, i)
        else:
            one_scas(cpu, i)
        n = max(n, 1)
        set_address_reg(cpu, i, RCX, count - n)
        commit_accesses(cpu)
        if kind >= CMPS and get_zf(cpu) != (i.attr & INSTR_REPNE == 0):
            return True
        cpu.budget -= INSTR_BYTES * cython.cast(int32_t, 1 + (n >> 5))
        if (cpu.budget < 0 or cpu.attention) and count != n:
            cpu.a.rip = rip_of(cpu, i)
            cpu.is_repeating = 1
            return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def movs(cpu: CpuP, i: InstrP) -> cython.void:
    if is_repeated(i):
        if not repeat(cpu, i, MOVS):
            return
    else:
        one_movs(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stos(cpu: CpuP, i: InstrP) -> cython.void:
    if is_repeated(i):
        if not repeat(cpu, i, STOS):
            return
    else:
        one_stos(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lods(cpu: CpuP, i: InstrP) -> cython.void:
    if is_repeated(i):
        if not repeat(cpu, i, LODS):
            return
    else:
        one_lods(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cmps(cpu: CpuP, i: InstrP) -> cython.void:
    if is_repeated(i):
        if not repeat(cpu, i, CMPS):
            return
    else:
        one_cmps(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scas(cpu: CpuP, i: InstrP) -> cython.void:
    if is_repeated(i):
        if not repeat(cpu, i, SCAS):
            return
    else:
        one_scas(cpu, i)
    next_(cpu, i)
