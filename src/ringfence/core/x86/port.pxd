# Port input and output: SDM vol. 1, chapter 19; vol. 2, IN OUT INS OUTS.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void finish(Cpu* cpu, Instr* i) noexcept nogil
cdef void in_imm(Cpu* cpu, Instr* i) noexcept nogil
cdef void in_dx(Cpu* cpu, Instr* i) noexcept nogil
cdef void out_imm(Cpu* cpu, Instr* i) noexcept nogil
cdef void out_dx(Cpu* cpu, Instr* i) noexcept nogil
cdef void one_ins(Cpu* cpu, Instr* i) noexcept nogil
cdef void one_outs(Cpu* cpu, Instr* i) noexcept nogil
cdef void ins(Cpu* cpu, Instr* i) noexcept nogil
cdef void outs(Cpu* cpu, Instr* i) noexcept nogil
