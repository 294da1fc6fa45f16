# Control registers.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

cdef void mov_from_cr(Cpu* cpu, Instr* i) noexcept nogil
cdef void mov_to_cr(Cpu* cpu, Instr* i) noexcept nogil
cdef void clts(Cpu* cpu, Instr* i) noexcept nogil
cdef void lmsw(Cpu* cpu, Instr* i) noexcept nogil
cdef void smsw(Cpu* cpu, Instr* i) noexcept nogil
