"""Bit strings, bit scans, CRC32 and random numbers: SDM vol. 2."""

import cython
from cython.cimports.libc.stdint import (
    int16_t,
    int32_t,
    int64_t,
    uint8_t,
    uint32_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import (
    bounce,
    cas,
    load,
    peek_host,
    probe_write,
    rmw_finish,
    rmw_slow,
)
from cython.cimports.ringfence.core.x86.bits import getrandom
from cython.cimports.ringfence.core.x86.flags import set_arithmetic_flags, set_cf
from cython.cimports.ringfence.core.x86.operands import (
    ea,
    ea_offset,
    get_reg,
    linear,
    next_,
    set_reg,
    wrap_ea,
)
from cython.cimports.ringfence.core.x86.semantics import sem_crc32_8
from cython.cimports.ringfence.core.x86.state import (
    EA_FLAT32,
    EA_FLAT64,
    INSTR_MEMORY,
    CpuP,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bit_address(cpu: CpuP, i: InstrP, size: cython.int, is_write: cython.int) -> uint64_t:
    """BT and its kin on memory address a bit string: the register's signed index may reach outside
    the operand, a whole operand at a time."""
    index: int64_t
    offset: uint64_t
    if size == 8:
        index = cython.cast(int64_t, cpu.a.regs[i.reg]) >> 6
    elif size == 4:
        index = cython.cast(int32_t, cpu.a.regs[i.reg]) >> 5
    else:
        index = cython.cast(int16_t, cpu.a.regs[i.reg]) >> 4
    offset = wrap_ea(i, ea_offset(cpu, i) + cython.cast(uint64_t, index * size))
    if i.ea_form == EA_FLAT64 or i.ea_form == EA_FLAT32:
        return offset
    return linear(cpu, i.seg, offset, size, is_write)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bt_mem(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    value: uint64_t = load(cpu, bit_address(cpu, i, size, 0), size)
    set_cf(cpu, (value >> (cpu.a.regs[i.reg] & (8 * size - 1))) & 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def change_bit(cpu: CpuP, i: InstrP, kind: cython.int) -> cython.void:
    """BTS (1), BTR (2), BTC (3) on memory; always as one atomic exchange."""
    size: cython.int = 1 << i.width
    la: uint64_t = bit_address(cpu, i, size, 1)
    bit: uint64_t = cython.cast(uint64_t, 1) << (cpu.a.regs[i.reg] & (8 * size - 1))
    host: cython.pointer(uint8_t) = probe_write(cpu, la, size)
    old: uint64_t
    new: uint64_t
    if host == cython.NULL:
        host = rmw_slow(cpu, la, size)
    while True:
        old = peek_host(host, size)
        if kind == 1:
            new = old | bit
        elif kind == 2:
            new = old & ~bit
        else:
            new = old ^ bit
        if cas(host, old, new, size):
            break
    if host == bounce(cpu):
        rmw_finish(cpu, la, size)
    set_cf(cpu, (old & bit) != 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bts_mem(cpu: CpuP, i: InstrP) -> cython.void:
    change_bit(cpu, i, 1)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def btr_mem(cpu: CpuP, i: InstrP) -> cython.void:
    change_bit(cpu, i, 2)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def btc_mem(cpu: CpuP, i: InstrP) -> cython.void:
    change_bit(cpu, i, 3)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def crc32(cpu: CpuP, i: InstrP) -> cython.void:
    """CRC32 of a word, doubleword or quadword: byte by byte, low byte first."""
    size: cython.int = 1 << i.width
    k: cython.int
    crc: uint64_t = cpu.a.regs[i.reg]
    data: uint64_t
    if i.attr & INSTR_MEMORY:
        data = load(cpu, ea(cpu, i, size, 0), size)
    else:
        data = get_reg(cpu, i.rm, size)
    for k in range(size):
        crc = sem_crc32_8(cpu, crc, (data >> (8 * k)) & 0xFF, 32)
    cpu.a.regs[i.reg] = cython.cast(uint32_t, crc)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdrand(cpu: CpuP, i: InstrP) -> cython.void:
    """RDRAND and RDSEED, from the host's random number generator. CF = 1: there was a number."""
    value: uint64_t = 0
    is_ready: cython.bint = getrandom(cython.address(value), 8, 1) == 8
    set_reg(cpu, i.rm, value if is_ready else 0, 1 << i.width)
    set_arithmetic_flags(cpu, 1 if is_ready else 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rdpid(cpu: CpuP, i: InstrP) -> cython.void:
    cpu.a.regs[i.rm] = cpu.a.msr.tsc_aux
    next_(cpu, i)
