# Delivery through the IDT: 16- and 32-bit gates, and the 64-bit ones of long mode.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu

cdef void deliver_protected(
    Cpu* cpu, int vector, bint is_software, bint has_error, uint32_t error, uint64_t flags, uint64_t rip) noexcept nogil
cdef void deliver_long(
    Cpu* cpu, int vector, bint is_software, bint has_error, uint32_t error, uint64_t flags, uint64_t rip) noexcept nogil
