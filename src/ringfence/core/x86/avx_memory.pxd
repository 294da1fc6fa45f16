# The memory operand of a vector instruction, under its opmask.
from libc.stdint cimport uint8_t, uint64_t
from ringfence.core.x86.decode_table cimport EntryInfo
from ringfence.core.x86.state cimport Cpu, Instr

#  What a vector instruction writes to memory: elements, and a bit of the mask for each.
cdef struct Stores:
    uint64_t la
    uint64_t mask
    int count
    int element                     # bytes

cdef uint64_t vector_address(Cpu* cpu, Instr* i, EntryInfo* e, int size, int is_write) noexcept nogil
cdef void load_elements(
    Cpu* cpu, uint64_t la, uint8_t* to, int count, int element, uint64_t mask) noexcept nogil
cdef void store_elements(
    Cpu* cpu, uint64_t la, const uint8_t* data, int count, int element, uint64_t mask) noexcept nogil
cdef void load_memory(Cpu* cpu, Instr* i, EntryInfo* e, uint8_t* to) noexcept nogil
cdef void check_store(Cpu* cpu, Instr* i, EntryInfo* e) noexcept nogil
cdef void store_memory(Cpu* cpu, Instr* i, EntryInfo* e, const uint8_t* data) noexcept nogil
