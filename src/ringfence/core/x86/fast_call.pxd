# Fast system calls.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void syscall(Cpu* cpu, Instr* i) noexcept nogil
cdef void sysret(Cpu* cpu, Instr* i) noexcept nogil
cdef void sysenter(Cpu* cpu, Instr* i) noexcept nogil
cdef void sysexit(Cpu* cpu, Instr* i) noexcept nogil
