# Power-on state.
from ringfence.core.x86.state cimport Cpu

cdef void reset_cpu(Cpu* cpu) noexcept nogil
