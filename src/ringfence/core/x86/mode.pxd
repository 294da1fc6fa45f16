# What the current registers imply: decoding mode, TLB view, single-stepping.
from ringfence.core.x86.state cimport Cpu

cdef void refresh_mode(Cpu* cpu) noexcept nogil
