# What tables/msr.tbl says of one register.
from libc.stdint cimport uint64_t

cdef enum MsrKind:
    MSR_FIELD = 0               # a word of Msrs; only bits of `mask` may be set
    MSR_CANONICAL = 1           # a word of Msrs that holds a canonical address
    MSR_CONSTANT = 2            # reads `value`; a write is #GP
    MSR_IGNORES_WRITES = 3      # reads `value`; a write does nothing
    MSR_SPECIAL = 4             # msr.py

cdef struct MsrRule:
    int kind
    int feature                 # number of the CPUID feature it comes with, or -1
    uint64_t value
    uint64_t mask

cdef inline bint set_rule(MsrRule* rule, int kind, uint64_t value, uint64_t mask, int feature) noexcept nogil:
    rule.kind = kind
    rule.value = value
    rule.mask = mask
    rule.feature = feature
    return True
