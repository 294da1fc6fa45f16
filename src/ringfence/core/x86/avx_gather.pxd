# Gather and scatter: memory operands whose index is a vector.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void gather(Cpu* cpu, Instr* i) noexcept nogil
cdef void scatter(Cpu* cpu, Instr* i) noexcept nogil
