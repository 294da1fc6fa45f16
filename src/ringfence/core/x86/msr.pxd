# Model-specific registers.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

# False: #GP, by the rules of RDMSR and WRMSR, CPL aside.
cdef bint read_msr(Cpu* cpu, uint32_t index, uint64_t* value) noexcept nogil
cdef bint write_msr(Cpu* cpu, uint32_t index, uint64_t value) noexcept nogil
cdef void rdmsr(Cpu* cpu, Instr* i) noexcept nogil
cdef void wrmsr(Cpu* cpu, Instr* i) noexcept nogil
