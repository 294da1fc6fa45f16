# The page walk: SDM vol. 3, chapter 4.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu

cdef struct Walk:
    uint64_t gpa                # of the 4 KiB page
    uint32_t error              # page-fault error code when walk() fails
    uint32_t attr               # TLB_GLOBAL, TLB_LARGE
    uint32_t may_write          # a write would go through, and has before: the page is dirty

ctypedef Walk* WalkP

cdef bint walk(Cpu* cpu, uint64_t la, int access, int view, Walk* result) noexcept nogil
cdef bint load_pdptes(Cpu* cpu) noexcept nogil
