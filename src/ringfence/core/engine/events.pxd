# What the engines do between instructions.
from ringfence.core.x86.state cimport Cpu

cdef void begin(Cpu* cpu, int budget) noexcept nogil
cdef int between(Cpu* cpu) noexcept nogil
cdef int step(Cpu* cpu) noexcept nogil
# After a long jump: deliver the fault, or hand the exit on.
cdef int land(Cpu* cpu, int landing) noexcept nogil
