# Software interrupts and BOUND.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void int_n(Cpu* cpu, Instr* i) noexcept nogil
cdef void int3(Cpu* cpu, Instr* i) noexcept nogil
cdef void into(Cpu* cpu, Instr* i) noexcept nogil
cdef void int1(Cpu* cpu, Instr* i) noexcept nogil
cdef void bound(Cpu* cpu, Instr* i) noexcept nogil
