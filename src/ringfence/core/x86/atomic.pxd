# Exchanges in memory: SDM vol. 2, XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void xchg(Cpu* cpu, Instr* i) noexcept nogil
cdef void xadd(Cpu* cpu, Instr* i) noexcept nogil
cdef void cmpxchg(Cpu* cpu, Instr* i) noexcept nogil
cdef void cmpxchg8b(Cpu* cpu, Instr* i) noexcept nogil
cdef void exchange_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void exchange_16(Cpu* cpu, Instr* i) noexcept nogil
