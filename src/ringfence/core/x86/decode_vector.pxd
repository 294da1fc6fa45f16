# What VEX and EVEX add to a decoded instruction.
#
# Instr.imm holds it above the immediate byte; reg, vvvv and rm are numbers up to 31, and with vector
# indices (VSIB) rm is the index register. disp is already scaled.
#
#   63     18 17   16 15  14  12 11 10 9    8 7     0
#      0       round   -  opmask  b  z  length   imm8
from ringfence.core.x86.decode_table cimport MEMORY_BY_W, MEMORY_PART, EntryInfo
from ringfence.core.x86.scan cimport Scan
from ringfence.core.x86.state cimport INSTR_REX_W, Instr

cdef enum:
    VEX_LENGTH_SHIFT = 8        # 0 128, 1 256, 2 512 bits
    VEX_ZEROING = 1 << 10
    VEX_B = 1 << 11             # broadcast; with registers: no exceptions, and rounding by the next field
    VEX_MASK_SHIFT = 12
    VEX_ROUND_SHIFT = 16

# False: undefined.
cdef bint finish_vector(Scan* s, EntryInfo* e, Instr* i) noexcept nogil

cdef inline int vector_length(Instr* i) noexcept nogil:
    return i.imm >> VEX_LENGTH_SHIFT & 3

cdef inline int opmask_number(Instr* i) noexcept nogil:
    return i.imm >> VEX_MASK_SHIFT & 7

cdef inline int memory_bytes(EntryInfo* e, Instr* i) noexcept nogil:
    """Size of the memory operand, unless it is one element that is broadcast."""
    if e.memory & MEMORY_PART:
        return 16 << vector_length(i) >> (e.memory & 15)
    if e.memory & MEMORY_BY_W:
        return 8 if i.attr & INSTR_REX_W else 4
    return 1 << e.memory
