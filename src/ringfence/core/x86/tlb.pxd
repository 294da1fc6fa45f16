# The software TLB: four views (mode.py), reads apart from writes.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu

cdef void flush_tlb(Cpu* cpu, bint keep_global) noexcept nogil
cdef void flush_page(Cpu* cpu, uint64_t la) noexcept nogil
cdef void drop_writes(Cpu* cpu, uint64_t gpa) noexcept nogil
cdef void new_generation(Cpu* cpu) noexcept nogil
cdef void empty_host_jumps(Cpu* cpu) noexcept nogil
cdef void empty_slots(Cpu* cpu) noexcept nogil
