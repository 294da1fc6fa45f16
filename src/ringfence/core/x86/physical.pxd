# Guest memory and ports by address on the bus.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu

# Page tables: plain RAM or false.
cdef bint phys_load(Cpu* cpu, uint64_t gpa, int size, uint64_t* value) noexcept nogil
cdef bint phys_store(Cpu* cpu, uint64_t gpa, int size, uint64_t value) noexcept nogil
# A data access within a page.
cdef uint64_t gpa_load(Cpu* cpu, uint64_t gpa, int size) noexcept nogil
cdef void gpa_store(Cpu* cpu, uint64_t gpa, uint64_t value, int size) noexcept nogil
cdef uint64_t io_read(Cpu* cpu, uint32_t port, int size) noexcept nogil
cdef void io_write(Cpu* cpu, uint32_t port, int size, uint64_t value) noexcept nogil
# The instruction, or one turn of a repeated one, is done: forget its replay record.
cdef void commit_accesses(Cpu* cpu) noexcept nogil

cdef uint64_t peek(const uint8_t* host, int size) noexcept nogil
cdef void poke(uint8_t* host, uint64_t value, int size) noexcept nogil
