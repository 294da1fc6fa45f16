"""Multiplication and division with a double-width operand: SDM vol. 2, MUL IMUL DIV IDIV MULX."""

import cython
from cython.cimports.libc.stdint import (
    int64_t,
    uint64_t,
)
from cython.cimports.ringfence.core.x86.access import load
from cython.cimports.ringfence.core.x86.faults import raise_fault
from cython.cimports.ringfence.core.x86.flags import set_flags_explicit, sign_extend
from cython.cimports.ringfence.core.x86.muldiv import int128, uint128
from cython.cimports.ringfence.core.x86.operands import ea, get_reg, next_, set_reg
from cython.cimports.ringfence.core.x86.state import DE, INSTR_MEMORY, RAX, RDX, CpuP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def source(cpu: CpuP, i: InstrP) -> uint64_t:
    size: cython.int = 1 << i.width
    if i.attr & INSTR_MEMORY:
        return load(cpu, ea(cpu, i, size, 0), size)
    return get_reg(cpu, i.rm, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_pair(cpu: CpuP, size: cython.int, low: uint64_t, high: uint64_t) -> cython.void:
    """The double-width result: AX, DX:AX, EDX:EAX or RDX:RAX."""
    if size == 1:
        set_reg(cpu, RAX, (low & 0xFF) | (high << 8), 2)
    else:
        set_reg(cpu, RAX, low, size)
        set_reg(cpu, RDX, high, size)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mul(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    product: uint128 = cython.cast(uint128, get_reg(cpu, RAX, size)) * source(cpu, i)
    low: uint64_t = cython.cast(uint64_t, product)
    high: uint64_t = cython.cast(uint64_t, product >> (8 * size))
    put_pair(cpu, size, low, high)
    set_flags_explicit(cpu, low, 8 * size, high != 0, high != 0, 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def imul(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    bits: cython.int = 8 * size
    product: int128 = cython.cast(int128, sign_extend(get_reg(cpu, RAX, size), bits)) * sign_extend(
        source(cpu, i), bits
    )
    low: uint64_t = cython.cast(uint64_t, product)
    overflow: cython.bint = product != sign_extend(low, bits)
    put_pair(cpu, size, low, cython.cast(uint64_t, product >> bits))
    set_flags_explicit(cpu, low, bits, overflow, overflow, 0)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def divide(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    bits: cython.int = 8 * size
    divisor: uint64_t = source(cpu, i)
    dividend: uint128
    quotient: uint128
    if divisor == 0:
        raise_fault(cpu, DE)
    if size == 1:
        dividend = get_reg(cpu, RAX, 2)
    else:
        dividend = (cython.cast(uint128, get_reg(cpu, RDX, size)) << bits) | get_reg(cpu, RAX, size)
    if dividend >> 64 == 0:
        divide_64(cpu, size, cython.cast(uint64_t, dividend), divisor)
        return
    # cast: Cython would narrow the division to the divisor's type
    quotient = dividend / cython.cast(uint128, divisor)
    if quotient >> bits:
        raise_fault(cpu, DE)
    put_pair(
        cpu,
        size,
        cython.cast(uint64_t, quotient),
        cython.cast(uint64_t, dividend % cython.cast(uint128, divisor)),
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def divide_64(cpu: CpuP, size: cython.int, dividend: uint64_t, divisor: uint64_t) -> cython.void:
    """The usual case: the dividend fits 64 bits, and so does a plain host division."""
    quotient: uint64_t = dividend / divisor
    if size < 8 and quotient >> (8 * size):
        raise_fault(cpu, DE)
    put_pair(cpu, size, quotient, dividend % divisor)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def div(cpu: CpuP, i: InstrP) -> cython.void:
    divide(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def divide_signed(cpu: CpuP, i: InstrP) -> cython.void:
    size: cython.int = 1 << i.width
    bits: cython.int = 8 * size
    divisor: int64_t = sign_extend(source(cpu, i), bits)
    dividend: int128
    quotient: int128
    if divisor == 0:
        raise_fault(cpu, DE)
    if size == 1:
        dividend = sign_extend(get_reg(cpu, RAX, 2), 16)
    elif size == 8:
        dividend = cython.cast(int128, (cython.cast(uint128, cpu.a.regs[RDX]) << 64) | cpu.a.regs[RAX])
    else:
        dividend = sign_extend((get_reg(cpu, RDX, size) << bits) | get_reg(cpu, RAX, size), 2 * bits)
    if divisor == -1:
        # the one division that a host would fault on: the smallest number by -1
        quotient = cython.cast(int128, -cython.cast(uint128, dividend))
        if (dividend < 0 and quotient < 0) or quotient != sign_extend(cython.cast(uint64_t, quotient), bits):
            raise_fault(cpu, DE)
        put_pair(cpu, size, cython.cast(uint64_t, quotient), 0)
        return
    quotient = dividend / cython.cast(int128, divisor)
    if quotient != sign_extend(cython.cast(uint64_t, quotient), bits):
        raise_fault(cpu, DE)
    put_pair(
        cpu,
        size,
        cython.cast(uint64_t, quotient),
        cython.cast(uint64_t, dividend % cython.cast(int128, divisor)),
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def idiv(cpu: CpuP, i: InstrP) -> cython.void:
    divide_signed(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mulx(cpu: CpuP, i: InstrP) -> cython.void:
    """MULX: no flags; the high half goes to modrm.reg and is written last."""
    size: cython.int = 8 if i.width == 3 else 4
    product: uint128 = cython.cast(uint128, get_reg(cpu, RDX, size)) * source(cpu, i)
    set_reg(cpu, i.vvvv, cython.cast(uint64_t, product), size)
    set_reg(cpu, i.reg, cython.cast(uint64_t, product >> (8 * size)), size)
    next_(cpu, i)
