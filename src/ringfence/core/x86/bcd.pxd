# Binary-coded decimal: SDM vol. 2, DAA DAS AAA AAS AAM AAD, and SALC.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void daa(Cpu* cpu, Instr* i) noexcept nogil
cdef void das(Cpu* cpu, Instr* i) noexcept nogil
cdef void aaa(Cpu* cpu, Instr* i) noexcept nogil
cdef void aas(Cpu* cpu, Instr* i) noexcept nogil
cdef void aam(Cpu* cpu, Instr* i) noexcept nogil
cdef void aad(Cpu* cpu, Instr* i) noexcept nogil
cdef void salc(Cpu* cpu, Instr* i) noexcept nogil
