# x87 control instructions and the environment in memory.
from libc.stdint cimport uint16_t, uint32_t
from ringfence.core.x86.state cimport Cpu, Fxsave, Instr

ctypedef uint16_t* Halves
ctypedef uint32_t* Longs

cdef void set_control(Fxsave* fx, uint16_t value) noexcept nogil
cdef void fninit(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnclex(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnop(Cpu* cpu, Instr* i) noexcept nogil
cdef void fneni(Cpu* cpu, Instr* i) noexcept nogil
cdef void fwait(Cpu* cpu, Instr* i) noexcept nogil
cdef void fldcw(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnstcw(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnstsw(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnstsw_ax(Cpu* cpu, Instr* i) noexcept nogil
cdef void fldenv(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnstenv(Cpu* cpu, Instr* i) noexcept nogil
cdef void fnsave(Cpu* cpu, Instr* i) noexcept nogil
cdef void frstor(Cpu* cpu, Instr* i) noexcept nogil
