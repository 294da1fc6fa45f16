"""Memory types: MTRRs and PAT. SDM vol. 3, 11.11 and 11.12.

Caches are not modelled, so these registers only remember what is legal to write.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86._gen_msr import (
    MSR_MTRR_DEF_TYPE,
    MSR_MTRR_FIX4K,
    MSR_MTRR_FIX16K,
    MSR_MTRR_FIX64K_00000,
    MSR_MTRR_VARIABLE,
    MSR_MTRR_VARIABLE_LAST,
    MSR_PAT,
)
from cython.cimports.ringfence.core.x86.cpuid import PHYSICAL_BITS
from cython.cimports.ringfence.core.x86.state import CpuP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def word_of(cpu: CpuP, index: uint32_t) -> cython.pointer(uint64_t):
    if index == MSR_PAT:
        return cython.address(cpu.a.msr.pat)
    if index == MSR_MTRR_DEF_TYPE:
        return cython.address(cpu.a.msr.mtrr_def_type)
    if MSR_MTRR_VARIABLE <= index <= MSR_MTRR_VARIABLE_LAST:
        return cython.address(cpu.a.msr.mtrr_variable[index - MSR_MTRR_VARIABLE])
    if index == MSR_MTRR_FIX64K_00000:
        return cython.address(cpu.a.msr.mtrr_fixed[0])
    if index < MSR_MTRR_FIX4K:
        return cython.address(cpu.a.msr.mtrr_fixed[1 + index - MSR_MTRR_FIX16K])
    return cython.address(cpu.a.msr.mtrr_fixed[3 + index - MSR_MTRR_FIX4K])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_legal_types(value: uint64_t, with_uncached_minus: cython.bint) -> cython.bint:
    """Eight memory types, one a byte: UC WC WT WP WB, and UC- (7) in the PAT."""
    k: cython.int
    kind: uint64_t
    for k in range(8):
        kind = (value >> (8 * k)) & 0xFF
        if kind > 7 or kind == 2 or kind == 3 or (kind == 7 and not with_uncached_minus):
            return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_legal(index: uint32_t, value: uint64_t) -> cython.bint:
    if index == MSR_PAT:
        return has_legal_types(value, True)
    if index == MSR_MTRR_DEF_TYPE:
        return value & ~cython.cast(uint64_t, 0xCFF) == 0 and has_legal_types(value & 0xFF, False)
    if MSR_MTRR_VARIABLE <= index <= MSR_MTRR_VARIABLE_LAST:
        if value >> PHYSICAL_BITS:
            return False
        if index & 1:
            return value & 0x7FF == 0
        return value & 0xF00 == 0 and has_legal_types(value & 0xFF, False)
    return has_legal_types(value, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_mtrr(cpu: CpuP, index: uint32_t, value: cython.pointer(uint64_t)) -> cython.bint:
    value[0] = word_of(cpu, index)[0]
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_mtrr(cpu: CpuP, index: uint32_t, value: uint64_t) -> cython.bint:
    if not is_legal(index, value):
        return False
    word_of(cpu, index)[0] = value
    return True
