# Branches within the code segment; Jcc is inline because it falls through most of the time.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.flags cimport condition
from ringfence.core.x86.access cimport load
from ringfence.core.x86.operands cimport (
    branch_to, ea, get_reg, is_near, jump, jump_near, next_, next_rip, peek, push, set_sp)
from ringfence.core.x86.state cimport INSTR_MEMORY, MODE_CODE64, MODE_CODE_MASK, RSP, Cpu, Instr

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

cdef inline void branch_call_to(Cpu* cpu, Instr* i, uint64_t target, int size) noexcept nogil:
    """Push the return address and go on at `target`, which is checked before anything is pushed."""
    if not is_near(cpu, target):
        branch_to(cpu, target)
    push(cpu, next_rip(cpu, i) if size == 8 else <uint32_t>next_rip(cpu, i), size)
    jump(cpu, i, target)

cdef inline void branch_call(Cpu* cpu, Instr* i, int size) noexcept nogil:
    if size > 1:
        branch_call_to(cpu, i, near_target(cpu, i), size)

cdef inline uint64_t indirect_target(Cpu* cpu, Instr* i, int size) noexcept nogil:
    if i.attr & INSTR_MEMORY:
        return load(cpu, ea(cpu, i, size, 0), size)
    return get_reg(cpu, i.rm, size)

cdef inline void branch_call_ev(Cpu* cpu, Instr* i, int size) noexcept nogil:
    if size > 1:
        branch_call_to(cpu, i, indirect_target(cpu, i, size), size)

cdef inline void branch_jmp_ev(Cpu* cpu, Instr* i, int size) noexcept nogil:
    if size > 1:
        jump_near(cpu, i, indirect_target(cpu, i, size))

cdef inline void branch_ret(Cpu* cpu, Instr* i, int size) noexcept nogil:
    """RET, its immediate (0 without one) popped too: the stack moves once the target is known good."""
    cdef uint64_t target = peek(cpu, 0, size)
    if not is_near(cpu, target):
        branch_to(cpu, target)
    if size == 8:
        cpu.a.regs[RSP] += 8 + <uint64_t>i.imm
    else:
        set_sp(cpu, cpu.a.regs[RSP] + size + <uint64_t>i.imm)
    jump(cpu, i, target)

cdef void jmp(Cpu* cpu, Instr* i) noexcept nogil
cdef void loop(Cpu* cpu, Instr* i) noexcept nogil
cdef void loope(Cpu* cpu, Instr* i) noexcept nogil
cdef void loopne(Cpu* cpu, Instr* i) noexcept nogil
cdef void jcxz(Cpu* cpu, Instr* i) noexcept nogil
