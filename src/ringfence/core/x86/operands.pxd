# Operands of a decoded instruction: registers, effective address, stack, and the way onward.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.access cimport load, store
from ringfence.core.x86.state cimport (
    BLOCK_RIP, EA_BASE64, EA_FLAT32, EA_FLAT64, MODE_CODE64, MODE_CODE_MASK, MODE_FLAT, MODE_STACK32, RSP, Cpu,
    INSTR_BYTES, JUMP_CACHE_ENTRIES, CS, Instr, JumpEntry, SS)

cdef uint64_t ea_general(Cpu* cpu, Instr* i, int size, int is_write) noexcept nogil
cdef uint64_t stack_general(Cpu* cpu, uint64_t offset, int size, int is_write) noexcept nogil
cdef uint64_t linear(Cpu* cpu, int seg, uint64_t offset, int size, int is_write) noexcept nogil
cdef void branch_to(Cpu* cpu, uint64_t target) noexcept nogil

cdef inline void next_(Cpu* cpu, Instr* i) noexcept nogil:
    """Go on with the instruction after `i`; the compiler makes it a jump."""
    cpu.current = i + 1
    i[1].fn(cpu, i + 1)

cdef inline uint64_t rip_of(Cpu* cpu, Instr* i) noexcept nogil:
    return cpu.a.regs[BLOCK_RIP] + i.offset

cdef inline uint64_t next_rip(Cpu* cpu, Instr* i) noexcept nogil:
    """RIP after `i`, not yet wrapped to the code size."""
    return cpu.a.regs[BLOCK_RIP] + i.offset + i.length

cdef inline uint64_t wrap_rip(Cpu* cpu, uint64_t rip) noexcept nogil:
    """RIP is 64 bits wide in 64-bit code and at most 32 elsewhere."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return rip
    return rip & 0xFFFFFFFFULL

cdef inline uint64_t ea_offset(Cpu* cpu, Instr* i) noexcept nogil:
    """Offset within the segment, not wrapped to the address size."""
    return cpu.a.regs[i.base] + (cpu.a.regs[i.index] << i.scale) + <uint64_t><int64_t>i.disp

cdef inline uint64_t ea(Cpu* cpu, Instr* i, int size, int is_write) noexcept nogil:
    """Linear address of the memory operand; segment checks included where they can fail."""
    if i.ea_form == EA_FLAT64:
        return ea_offset(cpu, i)
    if i.ea_form == EA_FLAT32:
        return <uint32_t>ea_offset(cpu, i)
    if i.ea_form == EA_BASE64:
        return ea_offset(cpu, i) + cpu.a.seg[i.seg].base
    return ea_general(cpu, i, size, is_write)

cdef inline uint64_t get_reg(Cpu* cpu, int index, int size) noexcept nogil:
    """A register operand; for bytes `index` is an offset in bytes into regs[]."""
    if size == 1:
        return (<uint8_t*>cpu.a.regs)[index]
    if size == 2:
        return <uint16_t>cpu.a.regs[index]
    if size == 4:
        return <uint32_t>cpu.a.regs[index]
    return cpu.a.regs[index]

cdef inline void set_reg(Cpu* cpu, int index, uint64_t value, int size) noexcept nogil:
    cdef uint64_t* whole
    if size == 1:
        # merged in the full register: a later wide read is then one store-to-load forward
        (<uint8_t*>cpu.a.regs)[index] = <uint8_t>value
    elif size == 2:
        cpu.a.regs[index] = (cpu.a.regs[index] & ~<uint64_t>0xFFFF) | (value & 0xFFFF)
    elif size == 4:
        cpu.a.regs[index] = <uint32_t>value
    else:
        cpu.a.regs[index] = value

cdef inline uint64_t stack_address(Cpu* cpu, uint64_t offset, int size, int is_write) noexcept nogil:
    """Linear address of a stack slot at SS:offset."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return offset
    if (cpu.mode & (MODE_FLAT | MODE_STACK32)) == (MODE_FLAT | MODE_STACK32):
        return <uint32_t>offset
    return stack_general(cpu, offset, size, is_write)

cdef inline uint64_t wrap_sp(Cpu* cpu, uint64_t sp) noexcept nogil:
    """A stack offset cut to the stack's width."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return sp
    if cpu.mode & MODE_STACK32:
        return <uint32_t>sp
    return <uint16_t>sp

cdef inline void set_sp(Cpu* cpu, uint64_t sp) noexcept nogil:
    """RSP, ESP or SP by the stack's width; the bits above keep their value for SP."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        cpu.a.regs[RSP] = sp
    elif cpu.mode & MODE_STACK32:
        cpu.a.regs[RSP] = <uint32_t>sp
    else:
        cpu.a.regs[RSP] = (cpu.a.regs[RSP] & ~<uint64_t>0xFFFF) | (sp & 0xFFFF)

cdef inline void push(Cpu* cpu, uint64_t value, int size) noexcept nogil:
    """Push `size` bytes. RSP changes only when the store went through."""
    cdef uint64_t sp
    if size == 8:
        # only 64-bit code pushes quadwords
        store(cpu, cpu.a.regs[RSP] - 8, value, 8)
        cpu.a.regs[RSP] -= 8
        return
    sp = wrap_sp(cpu, cpu.a.regs[RSP] - size)
    store(cpu, stack_address(cpu, sp, size, 1), value, size)
    set_sp(cpu, sp)

cdef inline uint64_t peek(Cpu* cpu, int offset, int size) noexcept nogil:
    """The stack slot at SP+offset, nothing popped."""
    if size == 8:
        return load(cpu, cpu.a.regs[RSP] + offset, 8)
    return load(cpu, stack_address(cpu, wrap_sp(cpu, cpu.a.regs[RSP] + offset), size, 0), size)

cdef inline uint64_t pop(Cpu* cpu, int size) noexcept nogil:
    cdef uint64_t value = peek(cpu, 0, size)
    set_sp(cpu, cpu.a.regs[RSP] + size)
    return value

cdef inline uint64_t wrap_ea(Instr* i, uint64_t offset) noexcept nogil:
    """An offset cut to the address size."""
    if i.asize == 8:
        return offset
    if i.asize == 4:
        return <uint32_t>offset
    return <uint16_t>offset

cdef inline uint64_t moffs(Cpu* cpu, Instr* i, int size, int is_write) noexcept nogil:
    """Linear address of an operand given by its whole offset (MOV AL, moffs8)."""
    if i.ea_form == EA_FLAT64 or i.ea_form == EA_FLAT32:
        return <uint64_t>i.imm
    return linear(cpu, i.seg, <uint64_t>i.imm, size, is_write)

cdef inline uint64_t string_address(
        Cpu* cpu, Instr* i, int seg, uint64_t offset, int size, int is_write) noexcept nogil:
    """Linear address of a string operand; `offset` is already cut to the address size."""
    if i.ea_form == EA_FLAT64 or i.ea_form == EA_FLAT32:
        return offset
    return linear(cpu, seg, offset, size, is_write)

cdef inline void set_address_reg(Cpu* cpu, Instr* i, int index, uint64_t value) noexcept nogil:
    """Write a register that holds an offset or a count, in the address size."""
    if i.asize == 8:
        cpu.a.regs[index] = value
    elif i.asize == 4:
        cpu.a.regs[index] = <uint32_t>value
    else:
        cpu.a.regs[index] = (cpu.a.regs[index] & ~<uint64_t>0xFFFF) | (value & 0xFFFF)

# -- leaving a block --

cdef void dispatch(Cpu* cpu) noexcept nogil
cdef void jump_checked(Cpu* cpu, Instr* i, uint64_t target) noexcept nogil

cdef inline int32_t run_bytes(Instr* first, Instr* i) noexcept nogil:
    """What the instructions before `i` cost of the budget: no division by sizeof(Instr) needed."""
    return <int32_t>(<uint8_t*>i - <uint8_t*>first)

cdef inline void jump(Cpu* cpu, Instr* i, uint64_t target) noexcept nogil:
    """Leave the block after `i` for `target`, which the caller has checked.

    Enters the next block directly when the jump cache knows it and nothing wants attention;
    otherwise returns to the run loop.
    """
    cdef JumpEntry* slot = &cpu.jumps[(target ^ (target >> 12)) & (JUMP_CACHE_ENTRIES - 1)]
    cpu.budget -= run_bytes(cpu.first, i) + INSTR_BYTES
    if slot.rip == target and slot.fetch_key == cpu.fetch_key and cpu.budget >= 0 and not cpu.attention:
        cpu.a.regs[BLOCK_RIP] = target
        cpu.first = slot.first
        cpu.current = slot.first
        slot.first.fn(cpu, slot.first)
    else:
        cpu.a.rip = target
        cpu.first = NULL

cdef inline bint is_near(Cpu* cpu, uint64_t target) noexcept nogil:
    """Whether RIP may become `target` as far as 48 bits tell: branch_to() knows the whole rule."""
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return <uint64_t>((<int64_t>target >> 47) + 1) <= 1
    return target <= cpu.a.seg[CS].limit

cdef inline void jump_near(Cpu* cpu, Instr* i, uint64_t target) noexcept nogil:
    """A branch within the code segment; #GP where it leaves that."""
    if is_near(cpu, target):
        jump(cpu, i, target)
    else:
        jump_checked(cpu, i, target)
