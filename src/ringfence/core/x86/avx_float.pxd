# AVX to AVX-512 on floating-point numbers: thunks around which an MXCSR of the guest's is on.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void vector(Cpu* cpu, Instr* i) noexcept nogil
cdef void flags(Cpu* cpu, Instr* i) noexcept nogil
