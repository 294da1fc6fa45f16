# Instructions on segment registers and selectors.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void mov_to_sreg(Cpu* cpu, Instr* i) noexcept nogil
cdef void mov_from_sreg(Cpu* cpu, Instr* i) noexcept nogil
cdef void push_sreg(Cpu* cpu, Instr* i) noexcept nogil
cdef void pop_sreg(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_far_pointer(Cpu* cpu, Instr* i) noexcept nogil
cdef void lar(Cpu* cpu, Instr* i) noexcept nogil
cdef void lsl(Cpu* cpu, Instr* i) noexcept nogil
cdef void verr(Cpu* cpu, Instr* i) noexcept nogil
cdef void verw(Cpu* cpu, Instr* i) noexcept nogil
cdef void arpl(Cpu* cpu, Instr* i) noexcept nogil
