# Branches within the code segment; Jcc is inline because it falls through most of the time.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.flags cimport condition
from ringfence.core.x86.operands cimport jump_near, next_, next_rip
from ringfence.core.x86.state cimport MODE_CODE64, MODE_CODE_MASK, Cpu, Instr

cdef inline uint64_t near_target(Cpu* cpu, Instr* i) noexcept nogil:
    """Where a relative branch goes; RIP is cut to the operand size."""
    cdef uint64_t target = next_rip(cpu, i) + <uint64_t>i.imm
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return target
    return <uint16_t>target if i.width == 1 else <uint32_t>target

cdef inline void branch_jcc(Cpu* cpu, Instr* i, int cc) noexcept nogil:
    if condition(cpu, cc):
        jump_near(cpu, i, near_target(cpu, i))
    else:
        next_(cpu, i)

cdef void jmp(Cpu* cpu, Instr* i) noexcept nogil
cdef void call(Cpu* cpu, Instr* i) noexcept nogil
cdef void call_ev(Cpu* cpu, Instr* i) noexcept nogil
cdef void jmp_ev(Cpu* cpu, Instr* i) noexcept nogil
cdef void ret(Cpu* cpu, Instr* i) noexcept nogil
cdef void ret_imm(Cpu* cpu, Instr* i) noexcept nogil
cdef void loop(Cpu* cpu, Instr* i) noexcept nogil
cdef void loope(Cpu* cpu, Instr* i) noexcept nogil
cdef void loopne(Cpu* cpu, Instr* i) noexcept nogil
cdef void jcxz(Cpu* cpu, Instr* i) noexcept nogil
