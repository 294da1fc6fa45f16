# GDTR, IDTR, LDTR and TR.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void lgdt(Cpu* cpu, Instr* i) noexcept nogil
cdef void lidt(Cpu* cpu, Instr* i) noexcept nogil
cdef void sgdt(Cpu* cpu, Instr* i) noexcept nogil
cdef void sidt(Cpu* cpu, Instr* i) noexcept nogil
cdef void lldt(Cpu* cpu, Instr* i) noexcept nogil
cdef void ltr(Cpu* cpu, Instr* i) noexcept nogil
cdef void sldt(Cpu* cpu, Instr* i) noexcept nogil
cdef void str_(Cpu* cpu, Instr* i) noexcept nogil
