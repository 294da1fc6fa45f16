# Pages that hold decoded code.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.blocks cimport HASH_BUCKETS, PAGE_BUCKETS
from ringfence.core.x86.state cimport Block, Cpu

# [gpa, gpa+size) is about to be written.
cdef void code_written(Cpu* cpu, uint64_t gpa, uint64_t size) noexcept nogil
# Drop everything. Only from the run loop: no block may be running.
cdef void flush_blocks(Cpu* cpu) noexcept nogil
# From now on a write to this page comes to code_written().
cdef void mark_code(Cpu* cpu, uint64_t gpa) noexcept nogil

cdef inline uint32_t bucket_of(uint64_t gpa, uint32_t mode) noexcept nogil:
    return (gpa ^ (gpa >> 15) ^ (mode * 977)) & (HASH_BUCKETS - 1)

cdef inline uint32_t page_bucket(uint64_t gpa) noexcept nogil:
    return (gpa >> 12) & (PAGE_BUCKETS - 1)
