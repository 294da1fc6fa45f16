# Host machine code, byte by byte: SDM vol. 2, chapter 2 (instruction format) and appendix B.
#
# SAFETY: `at` runs through the writable mapping of the code cache; who starts a translation makes
# sure that TRANSLATION_BYTES are free, and no translation is longer.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef struct Emitter:
    uint8_t* at                 # where the next byte goes
    uint8_t* start              # the code cache's first byte in the same mapping
    int is_evex                 # no 8-bit displacements: EVEX would scale them
    uint8_t* begin              # of the translation
    uint16_t* fields            # where its code names the context or its records: offsets of 32-bit addresses
    int field_count
    int field_limit             # 0: nobody wants to know

ctypedef Emitter* EmitterP

cdef enum:
    NO_REG = -1
    CONTEXT = -2                # base of an operand at an absolute address below 2 GiB
    NO_BASE = -3                # the displacement is the guest's

# A ModRM operand: a register, or memory at base + index << scale + disp.
cdef struct Operand:
    int is_memory
    int reg
    int base
    int index
    int scale
    int64_t disp

ctypedef Operand* OperandP

cdef enum Form:                 # what surrounds an opcode
    FORM_W = 1                  # REX.W
    FORM_66 = 2
    FORM_F3 = 4
    FORM_F2 = 8
    FORM_LOCK = 16
    FORM_REX = 32               # a REX prefix even if empty: SPL BPL SIL DIL
    FORM_NO_REX = 64            # AH CH DH BH: the caller knows that none is needed

cdef enum Condition:
    CC_O = 0
    CC_B = 2
    CC_AE = 3
    CC_E = 4
    CC_NE = 5
    CC_A = 7
    CC_S = 8

cdef inline void put8(Emitter* e, int value) noexcept nogil:
    e.at[0] = <uint8_t>value
    e.at += 1

cdef inline void put16(Emitter* e, int value) noexcept nogil:
    (<uint16_t*>e.at)[0] = <uint16_t>value
    e.at += 2

cdef inline void put32(Emitter* e, int64_t value) noexcept nogil:
    (<uint32_t*>e.at)[0] = <uint32_t>value
    e.at += 4

cdef inline void put64(Emitter* e, uint64_t value) noexcept nogil:
    (<uint64_t*>e.at)[0] = value
    e.at += 8

cdef inline uint32_t position(Emitter* e) noexcept nogil:
    """Offset in the code cache of the next byte."""
    return <uint32_t>(e.at - e.start)

cdef inline bint is_int32(int64_t value) noexcept nogil:
    return value == <int32_t>value

cdef inline Operand register_operand(int reg) noexcept nogil:
    cdef Operand o
    o.is_memory = 0
    o.reg = reg
    o.base = NO_REG
    o.index = NO_REG
    o.scale = 0
    o.disp = 0
    return o

cdef inline Operand memory_operand(int base, int index, int scale, int64_t disp) noexcept nogil:
    cdef Operand o
    o.is_memory = 1
    o.reg = NO_REG
    o.base = base
    o.index = index
    o.scale = scale
    o.disp = disp
    return o

cdef inline Operand absolute(void* address) noexcept nogil:
    """Something in the vCPU's context, which lies below 2 GiB."""
    return memory_operand(CONTEXT, NO_REG, 0, <int64_t><uint64_t>address)

cdef inline void note_field(Emitter* e) noexcept nogil:
    """The last four bytes are an address in the context or in the translation's records."""
    if e.field_count < e.field_limit:
        e.fields[e.field_count] = <uint16_t>(e.at - 4 - e.begin)
        e.field_count += 1

cdef inline void put_modrm(Emitter* e, int reg, Operand* rm) noexcept nogil:
    cdef int field = (reg & 7) << 3
    cdef int sib
    if not rm.is_memory:
        put8(e, 0xC0 | field | (rm.reg & 7))
        return
    if rm.base <= CONTEXT:
        # no base; with an index the displacement is 32 bits too
        sib = 0x25 if rm.index == NO_REG else (rm.scale << 6) | ((rm.index & 7) << 3) | 5
        put8(e, field | 4)
        put8(e, sib)
        put32(e, rm.disp)
        if rm.base == CONTEXT:
            note_field(e)
        return
    if rm.index == NO_REG and (rm.base & 7) != 4:
        if rm.disp == 0 and (rm.base & 7) != 5:
            put8(e, field | (rm.base & 7))
        elif rm.disp == <signed char>rm.disp and (not e.is_evex or rm.disp == 0):
            put8(e, 0x40 | field | (rm.base & 7))
            put8(e, <int>rm.disp)
        else:
            put8(e, 0x80 | field | (rm.base & 7))
            put32(e, rm.disp)
        return
    sib = ((rm.index & 7) << 3 if rm.index != NO_REG else 0x20) | (rm.scale << 6) | (rm.base & 7)
    if rm.disp == 0 and (rm.base & 7) != 5:
        put8(e, field | 4)
        put8(e, sib)
    elif rm.disp == <signed char>rm.disp and (not e.is_evex or rm.disp == 0):
        put8(e, 0x44 | field)
        put8(e, sib)
        put8(e, <int>rm.disp)
    else:
        put8(e, 0x84 | field)
        put8(e, sib)
        put32(e, rm.disp)

cdef inline int rex_bits(int reg, Operand* rm) noexcept nogil:
    """REX.R, X and B for these registers."""
    cdef int rex = (reg & 8) >> 1
    if not rm.is_memory:
        return rex | (rm.reg & 8) >> 3
    if rm.index != NO_REG:
        rex |= (rm.index & 8) >> 2
    if rm.base >= 0:
        rex |= (rm.base & 8) >> 3
    return rex

cdef inline void put_prefixes(Emitter* e, int form, int rex) noexcept nogil:
    if form & FORM_LOCK:
        put8(e, 0xF0)
    if form & FORM_66:
        put8(e, 0x66)
    if form & FORM_F3:
        put8(e, 0xF3)
    if form & FORM_F2:
        put8(e, 0xF2)
    if form & FORM_W:
        rex |= 8
    if rex or form & FORM_REX:
        put8(e, 0x40 | rex)

cdef inline void put_opcode(Emitter* e, int opcode) noexcept nogil:
    """`opcode` is map << 8 | byte, the maps as in the decoder's tables."""
    if opcode >> 8:
        put8(e, 0x0F)
        if opcode >> 8 == 2:
            put8(e, 0x38)
        elif opcode >> 8 == 3:
            put8(e, 0x3A)
    put8(e, opcode & 0xFF)

cdef inline void put_op(Emitter* e, int form, int opcode, int reg, Operand* rm) noexcept nogil:
    """An instruction with a ModRM byte; an immediate is the caller's."""
    put_prefixes(e, form, rex_bits(reg, rm))
    put_opcode(e, opcode)
    put_modrm(e, reg, rm)

cdef inline void put_rr(Emitter* e, int form, int opcode, int reg, int rm) noexcept nogil:
    cdef Operand o = register_operand(rm)
    put_op(e, form, opcode, reg, &o)

cdef inline void put_load(Emitter* e, int reg, void* address) noexcept nogil:
    """mov reg64, [context]"""
    cdef Operand o = absolute(address)
    put_op(e, FORM_W, 0x8B, reg, &o)

cdef inline void put_load32(Emitter* e, int reg, void* address) noexcept nogil:
    cdef Operand o = absolute(address)
    put_op(e, 0, 0x8B, reg, &o)

cdef inline void put_store(Emitter* e, int reg, void* address) noexcept nogil:
    """mov [context], reg64"""
    cdef Operand o = absolute(address)
    put_op(e, FORM_W, 0x89, reg, &o)

cdef inline void put_store_imm32(Emitter* e, void* address, uint32_t value) noexcept nogil:
    """mov dword [context], imm32"""
    cdef Operand o = absolute(address)
    put_op(e, 0, 0xC7, 0, &o)
    put32(e, value)

cdef inline void put_move(Emitter* e, int to, int source) noexcept nogil:
    put_rr(e, FORM_W, 0x89, source, to)

cdef inline void put_constant(Emitter* e, int reg, uint64_t value) noexcept nogil:
    """mov reg64, constant, in its shortest form."""
    if value == <uint32_t>value:
        put_prefixes(e, 0, (reg & 8) >> 3)
        put8(e, 0xB8 | (reg & 7))
        put32(e, value)
    elif is_int32(<int64_t>value):
        put_rr(e, FORM_W, 0xC7, 0, reg)
        put32(e, value)
    else:
        put_prefixes(e, FORM_W, (reg & 8) >> 3)
        put8(e, 0xB8 | (reg & 7))
        put64(e, value)

cdef inline void put_lea(Emitter* e, int form, int reg, int base, int index, int scale, int64_t disp) noexcept nogil:
    cdef Operand o = memory_operand(base, index, scale, disp)
    put_op(e, form, 0x8D, reg, &o)

cdef inline void put_jump(Emitter* e, uint32_t target) noexcept nogil:
    """jmp rel32 to an offset in the code cache."""
    put8(e, 0xE9)
    put32(e, <int64_t>target - <int64_t>position(e) - 4)

cdef inline void put_branch_to(Emitter* e, int condition, uint32_t target) noexcept nogil:
    """jcc rel32 to an offset in the code cache."""
    put8(e, 0x0F)
    put8(e, 0x80 | condition)
    put32(e, <int64_t>target - <int64_t>position(e) - 4)

cdef inline uint8_t* put_forward_jump(Emitter* e) noexcept nogil:
    """jmp rel32 to a place still to come: give its field to `join`."""
    put8(e, 0xE9)
    put32(e, 0)
    return e.at - 4

cdef inline uint8_t* put_forward_branch(Emitter* e, int condition) noexcept nogil:
    put8(e, 0x0F)
    put8(e, 0x80 | condition)
    put32(e, 0)
    return e.at - 4

cdef inline void join(Emitter* e, uint8_t* field) noexcept nogil:
    """Make the jump whose rel32 is at `field` arrive here."""
    (<int32_t*>field)[0] = <int32_t>(e.at - field - 4)

cdef inline uint8_t* put_short_branch(Emitter* e, int condition) noexcept nogil:
    """jcc rel8 over a few instructions: give its field to `join_short`."""
    put8(e, 0x70 | condition)
    put8(e, 0)
    return e.at - 1

cdef inline void join_short(Emitter* e, uint8_t* field) noexcept nogil:
    field[0] = <uint8_t>(e.at - field - 1)
