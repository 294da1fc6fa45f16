# Data movement; the sized forms are inline, instantiated for each width.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.operands cimport ea_offset, next_, set_reg, wrap_ea
from ringfence.core.x86.state cimport Cpu, Instr, RAX, RDX

cdef inline void move_lea(Cpu* cpu, Instr* i, int size) noexcept nogil:
    if size > 1:
        set_reg(cpu, i.reg, wrap_ea(i, ea_offset(cpu, i)), size)
    next_(cpu, i)

cdef inline void move_cbw(Cpu* cpu, Instr* i, int size) noexcept nogil:
    """CBW, CWDE, CDQE: the lower half of the accumulator sign-extended."""
    if size == 2:
        set_reg(cpu, RAX, <uint64_t><int64_t><int8_t>cpu.a.regs[RAX], 2)
    elif size == 4:
        set_reg(cpu, RAX, <uint64_t><int64_t><int16_t>cpu.a.regs[RAX], 4)
    else:
        set_reg(cpu, RAX, <uint64_t><int64_t><int32_t>cpu.a.regs[RAX], 8)
    next_(cpu, i)

cdef inline void move_cwd(Cpu* cpu, Instr* i, int size) noexcept nogil:
    """CWD, CDQ, CQO: RDX filled with the accumulator's sign."""
    if size == 2:
        set_reg(cpu, RDX, <uint64_t>(<int16_t>cpu.a.regs[RAX] >> 15), 2)
    elif size == 4:
        set_reg(cpu, RDX, <uint64_t>(<int32_t>cpu.a.regs[RAX] >> 31), 4)
    else:
        set_reg(cpu, RDX, <uint64_t>(<int64_t>cpu.a.regs[RAX] >> 63), 8)
    next_(cpu, i)

cdef void nop(Cpu* cpu, Instr* i) noexcept nogil
cdef void pause(Cpu* cpu, Instr* i) noexcept nogil
cdef void undefined(Cpu* cpu, Instr* i) noexcept nogil
cdef void touch(Cpu* cpu, Instr* i) noexcept nogil
cdef void xchg_rax(Cpu* cpu, Instr* i) noexcept nogil
cdef void xlat(Cpu* cpu, Instr* i) noexcept nogil
cdef void sahf(Cpu* cpu, Instr* i) noexcept nogil
cdef void lahf(Cpu* cpu, Instr* i) noexcept nogil
cdef void cmc(Cpu* cpu, Instr* i) noexcept nogil
cdef void clc(Cpu* cpu, Instr* i) noexcept nogil
cdef void stc(Cpu* cpu, Instr* i) noexcept nogil
cdef void cld(Cpu* cpu, Instr* i) noexcept nogil
cdef void std(Cpu* cpu, Instr* i) noexcept nogil
