# AVX and AVX-512 moves under a mask, and instructions that are SSE's but for the encoding.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void load_masked(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_masked(Cpu* cpu, Instr* i) noexcept nogil
cdef void expand(Cpu* cpu, Instr* i) noexcept nogil
cdef void compress(Cpu* cpu, Instr* i) noexcept nogil
cdef void maskmovdqu(Cpu* cpu, Instr* i) noexcept nogil
cdef void pcmpstr_index(Cpu* cpu, Instr* i) noexcept nogil
cdef void pcmpstr_mask(Cpu* cpu, Instr* i) noexcept nogil
