# Far returns and IRET.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void ret_far(Cpu* cpu, Instr* i) noexcept nogil
cdef void ret_far_imm(Cpu* cpu, Instr* i) noexcept nogil
cdef void iret(Cpu* cpu, Instr* i) noexcept nogil
# Apart from its handler, so that the handler has no locals and its last call is a jump.
cdef void do_iret(Cpu* cpu, Instr* i) noexcept nogil
