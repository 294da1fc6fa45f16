# Bits of page-table entries and of the page-fault error code: SDM vol. 3, 4.5 and 4.7.
#
#   63   62..52   51..40     39..12    11..9  8 7 6 5  4   3   2 1 0
#   NX  ignored  reserved   address   avail   G PS D A PCD PWT U W P
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #define PTE_NX 0x8000000000000000ULL
    #define ADDRESS_MASK 0x000000FFFFFFF000ULL
    #define RESERVED_HIGH 0x000FFF0000000000ULL
    #define RESERVED_PAE_HIGH 0x7FFFFF0000000000ULL
    """
    const uint64_t PTE_NX
    const uint64_t ADDRESS_MASK         # 40 bits of physical address
    const uint64_t RESERVED_HIGH
    const uint64_t RESERVED_PAE_HIGH

cdef enum:
    PTE_PRESENT = 1 << 0
    PTE_WRITABLE = 1 << 1
    PTE_USER = 1 << 2
    PTE_ACCESSED = 1 << 5
    PTE_DIRTY = 1 << 6
    PTE_LARGE = 1 << 7
    PTE_GLOBAL = 1 << 8
    PF_PRESENT = 1 << 0
    PF_WRITE = 1 << 1
    PF_USER = 1 << 2
    PF_RESERVED = 1 << 3
    PF_FETCH = 1 << 4
