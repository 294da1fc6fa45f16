# Memory types: MTRRs and PAT.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu

cdef enum:
    PAT_RESET = 0x0007040600070406ULL
    MTRR_WRITE_BACK = 0xC06     # enabled, fixed ranges too, default write-back

cdef bint read_mtrr(Cpu* cpu, uint32_t index, uint64_t* value) noexcept nogil
cdef bint write_mtrr(Cpu* cpu, uint32_t index, uint64_t value) noexcept nogil
