# System instructions that stand alone.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void hlt(Cpu* cpu, Instr* i) noexcept nogil
cdef void invlpg(Cpu* cpu, Instr* i) noexcept nogil
cdef void invpcid(Cpu* cpu, Instr* i) noexcept nogil
cdef void wbinvd(Cpu* cpu, Instr* i) noexcept nogil
cdef void swapgs(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdfsbase(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdgsbase(Cpu* cpu, Instr* i) noexcept nogil
cdef void wrfsbase(Cpu* cpu, Instr* i) noexcept nogil
cdef void wrgsbase(Cpu* cpu, Instr* i) noexcept nogil
cdef void vmcall(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdpmc(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdtsc(Cpu* cpu, Instr* i) noexcept nogil
cdef void rdtscp(Cpu* cpu, Instr* i) noexcept nogil
