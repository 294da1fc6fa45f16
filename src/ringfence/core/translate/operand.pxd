# Facts about the instruction being translated, and how its registers are put in place.
from libc.stdint cimport uint8_t
from ringfence.core.translate.builder cimport Builder, guest_register, is_in_memory
from ringfence.core.translate.encode cimport (
    FORM_66, FORM_F2, FORM_F3, FORM_LOCK, FORM_NO_REX, FORM_REX, FORM_W, put8, put16, put32, put_load, put_store)
from ringfence.core.translate.lowering cimport (
    LOWERING_AVX, LOWERING_AVX512, LOWERING_VECTOR, ROLE_READ, ROLE_WRITE, Lowering)
from ringfence.core.x86.decode cimport entry_info
from ringfence.core.x86.decode_table cimport EntryInfo
from ringfence.core.x86.decode_vector cimport VEX_B, memory_bytes
from ringfence.core.x86.state cimport INSTR_LOCK, INSTR_MEMORY, INSTR_REX_W, Instr

cdef inline bint is_high_byte(int offset) noexcept nogil:
    """A byte register is given as an offset into regs[]: AH CH DH BH are odd."""
    return offset & 1

cdef inline int byte_register_number(int offset) noexcept nogil:
    """Its number in an encoding."""
    return (offset >> 3) + 4 if offset & 1 else offset >> 3

cdef inline int immediate_bytes(Instr* i, EntryInfo* info) noexcept nogil:
    if info.imm_kind == 1:
        return 1
    if info.imm_kind == 2 or info.imm_kind == 8:
        return 2
    if info.imm_kind == 3:
        return 2 if i.width == 1 else 4
    return 0

cdef inline void put_immediate(Builder* b, int size) noexcept nogil:
    if size == 1:
        put8(&b.e, <int>b.i.imm)
    elif size == 2:
        put16(&b.e, <int>b.i.imm)
    elif size == 4:
        put32(&b.e, b.i.imm)

cdef inline int form_of(Instr* i, EntryInfo* info, Lowering* low) noexcept nogil:
    """The prefixes that the row and the operand size ask for."""
    cdef int form = 0
    if info.prefix == 0x66:
        form = FORM_66
    elif info.prefix == 0xF3:
        form = FORM_F3
    elif info.prefix == 0xF2:
        form = FORM_F2
    if low.attr & LOWERING_VECTOR:
        if i.attr & INSTR_REX_W:
            form |= FORM_W
    elif info.prefix > 1:
        if i.attr & INSTR_REX_W:
            form |= FORM_W
        if info.width_kind == 0 and i.width == 1:
            form |= FORM_66
    elif info.width_kind == 2:
        if i.attr & INSTR_REX_W:
            form |= FORM_W
    elif info.width_kind == 0:
        if i.width == 1:
            form |= FORM_66
        elif i.width == 3:
            form |= FORM_W
    if i.attr & INSTR_LOCK:
        form |= FORM_LOCK
    return form

cdef inline int operand_bytes(Instr* i, Lowering* low) noexcept nogil:
    """Bytes of the memory operand."""
    cdef EntryInfo* info
    if low.attr & (LOWERING_AVX | LOWERING_AVX512):
        info = entry_info(i.entry)
        if i.imm & VEX_B and info.broadcast:
            return 1 << (info.broadcast - 1)
        return memory_bytes(info, i)
    if low.size == 255:
        return 8 if i.attr & INSTR_REX_W else 4
    return low.size if low.size else 1 << i.width

cdef inline bint loses_whole(Instr* i, int role, bint is_byte) noexcept nogil:
    """Whether a write replaces all 64 bits of a general register, so that its old value need not be loaded."""
    return role == ROLE_WRITE and not is_byte and i.width >= 2

cdef inline int load_in_place(Builder* b, int reg, int role, bint is_byte, int scratch) noexcept nogil:
    """The host register for guest register `reg`: loaded into `scratch` if it lives in memory."""
    if role == 0 or not is_in_memory(b, reg):
        return reg
    if scratch == b.s1:
        b.is_s1_used = 1
    if not loses_whole(b.i, role, is_byte):
        put_load(&b.e, scratch, guest_register(b, reg))
    return scratch

cdef inline void store_in_place(Builder* b, int reg, int role, int scratch) noexcept nogil:
    if role & ROLE_WRITE and is_in_memory(b, reg):
        put_store(&b.e, scratch, guest_register(b, reg))
