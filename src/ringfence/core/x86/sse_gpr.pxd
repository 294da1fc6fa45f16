# SSE instructions between vector and general registers.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void movmskps(Cpu* cpu, Instr* i) noexcept nogil
cdef void movmskpd(Cpu* cpu, Instr* i) noexcept nogil
cdef void pmovmskb(Cpu* cpu, Instr* i) noexcept nogil
cdef void pextrb(Cpu* cpu, Instr* i) noexcept nogil
cdef void pextrw(Cpu* cpu, Instr* i) noexcept nogil
cdef void pextrw_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void pextrd(Cpu* cpu, Instr* i) noexcept nogil
cdef void extractps(Cpu* cpu, Instr* i) noexcept nogil
cdef void pinsrb(Cpu* cpu, Instr* i) noexcept nogil
cdef void pinsrw(Cpu* cpu, Instr* i) noexcept nogil
cdef void pinsrd(Cpu* cpu, Instr* i) noexcept nogil
cdef void insertps(Cpu* cpu, Instr* i) noexcept nogil
