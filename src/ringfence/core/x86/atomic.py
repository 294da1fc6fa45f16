"""Exchanges in memory: SDM vol. 2, XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B.

On plain RAM they are one host compare-and-swap each, LOCK prefix or not.
"""

import cython
from cython.cimports.libc.stdint import (
    uint8_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import (
    bounce,
    cas,
    check_write,
    load,
    peek_host,
    probe_write,
    rmw_finish,
    rmw_slow,
    store,
)
from cython.cimports.ringfence.core.x86.faults import raise_gp
from cython.cimports.ringfence.core.x86.flags import set_zf
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, set_reg
from cython.cimports.ringfence.core.x86.semantics import sem_add, sem_sub
from cython.cimports.ringfence.core.x86.state import (
    INSTR_MEMORY,
    INSTR_REX_W,
    RAX,
    RBX,
    RCX,
    RDX,
    CpuP,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xchg(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    new: uint64_t = get_reg(cpu, i.reg, size)
    old: uint64_t
    la: uint64_t
    host: cython.pointer(uint8_t)
    if i.attr & INSTR_MEMORY:
        la = ea(cpu, i, size, 1)
        host = probe_write(cpu, la, size)
        if host == cython.NULL:
            host = rmw_slow(cpu, la, size)
        while True:
            old = peek_host(host, size)
            if cas(host, old, new, size):
                break
        if host == bounce(cpu):
            rmw_finish(cpu, la, size)
    else:
        old = get_reg(cpu, i.rm, size)
        set_reg(cpu, i.rm, new, size)
    set_reg(cpu, i.reg, old, size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xadd(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    addend: uint64_t = get_reg(cpu, i.reg, size)
    old: uint64_t
    la: uint64_t
    host: cython.pointer(uint8_t)
    if i.attr & INSTR_MEMORY:
        la = ea(cpu, i, size, 1)
        host = probe_write(cpu, la, size)
        if host == cython.NULL:
            host = rmw_slow(cpu, la, size)
        while True:
            old = peek_host(host, size)
            if cas(host, old, old + addend, size):
                break
        if host == bounce(cpu):
            rmw_finish(cpu, la, size)
        set_reg(cpu, i.reg, old, size)
    else:
        # the sum is written last: XADD reg, reg with one register gives the sum
        old = get_reg(cpu, i.rm, size)
        set_reg(cpu, i.reg, old, size)
        set_reg(cpu, i.rm, old + addend, size)
    sem_add(cpu, old, addend, 8 * size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cmpxchg(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    # RAX and AL both are register 0, byte offset 0
    expected: uint64_t = get_reg(cpu, RAX, size)
    new: uint64_t = get_reg(cpu, i.reg, size)
    old: uint64_t
    la: uint64_t
    host: cython.pointer(uint8_t)
    if i.attr & INSTR_MEMORY:
        la = ea(cpu, i, size, 1)
        host = probe_write(cpu, la, size)
        if host == cython.NULL:
            host = rmw_slow(cpu, la, size)
        while True:
            old = peek_host(host, size)
            # memory is written in either case, with its own value when they differ
            if cas(host, old, new if old == expected else old, size):
                break
        if host == bounce(cpu):
            rmw_finish(cpu, la, size)
    else:
        old = get_reg(cpu, i.rm, size)
        if old == expected:
            set_reg(cpu, i.rm, new, size)
    sem_sub(cpu, expected, old, 8 * size)
    if old != expected:
        set_reg(cpu, RAX, old, size)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cmpxchg8b(cpu: CpuP, i: InstrP) -> cython.void:
    if i.attr & INSTR_REX_W:
        exchange_16(cpu, i)
    else:
        exchange_8(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def exchange_8(cpu: CpuP, i: InstrP) -> cython.void:
    la: uint64_t = ea(cpu, i, 8, 1)
    expected: uint64_t = (cpu.a.regs[RDX] << 32) | cython.cast(uint32_t, cpu.a.regs[RAX])
    new: uint64_t = (cpu.a.regs[RCX] << 32) | cython.cast(uint32_t, cpu.a.regs[RBX])
    old: uint64_t
    host: cython.pointer(uint8_t) = probe_write(cpu, la, 8)
    if host == cython.NULL:
        host = rmw_slow(cpu, la, 8)
    while True:
        old = peek_host(host, 8)
        if cas(host, old, new if old == expected else old, 8):
            break
    if host == bounce(cpu):
        rmw_finish(cpu, la, 8)
    set_zf(cpu, old == expected)
    if old != expected:
        cpu.a.regs[RAX] = cython.cast(uint32_t, old)
        cpu.a.regs[RDX] = old >> 32


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def exchange_16(cpu: CpuP, i: InstrP) -> cython.void:
    """CMPXCHG16B. Other processors are kept out by the low half's own compare-and-swap only; a
    16-byte host exchange belongs with SMP."""
    la: uint64_t = ea(cpu, i, 16, 1)
    low: uint64_t
    high: uint64_t
    if la & 15:
        raise_gp(cpu)
    check_write(cpu, la, 16)
    low = load(cpu, la, 8)
    high = load(cpu, la + 8, 8)
    if low == cpu.a.regs[RAX] and high == cpu.a.regs[RDX]:
        store(cpu, la, cpu.a.regs[RBX], 8)
        store(cpu, la + 8, cpu.a.regs[RCX], 8)
        set_zf(cpu, 1)
    else:
        cpu.a.regs[RAX] = low
        cpu.a.regs[RDX] = high
        set_zf(cpu, 0)
