# The stack; the register forms are inline, instantiated for each width.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.operands cimport get_reg, next_, pop, push, set_reg
from ringfence.core.x86.state cimport Cpu, Instr

cdef inline void pushpop_push_reg(Cpu* cpu, Instr* i, int size) noexcept nogil:
    push(cpu, get_reg(cpu, i.vvvv, size) if size > 1 else 0, size)
    next_(cpu, i)

cdef inline void pushpop_pop_reg(Cpu* cpu, Instr* i, int size) noexcept nogil:
    cdef uint64_t value = pop(cpu, size)
    if size > 1:
        set_reg(cpu, i.vvvv, value, size)
    next_(cpu, i)

cdef void push_imm(Cpu* cpu, Instr* i) noexcept nogil
cdef void push_ev(Cpu* cpu, Instr* i) noexcept nogil
cdef void pop_ev(Cpu* cpu, Instr* i) noexcept nogil
cdef void pusha(Cpu* cpu, Instr* i) noexcept nogil
cdef void popa(Cpu* cpu, Instr* i) noexcept nogil
cdef void enter(Cpu* cpu, Instr* i) noexcept nogil
cdef void leave_frame(Cpu* cpu, Instr* i) noexcept nogil
