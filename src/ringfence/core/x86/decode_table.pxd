# The decoder's tables, filled at import from _gen_decode_data and _gen_dispatch.
from libc.stdint cimport int8_t, uint8_t, uint16_t
from ringfence.core.x86.state cimport Handler

cdef enum:
    ENTRY_LIMIT = 4096
    NO_FEATURE = 0xFFFF

# The same numbers as ATTRIBUTES, IMMEDIATES in tools/gen.py.
cdef enum Attribute:
    ATTRIBUTE_LOCK = 1 << 0
    ATTRIBUTE_I64 = 1 << 1
    ATTRIBUTE_O64 = 1 << 2
    ATTRIBUTE_D64 = 1 << 3
    ATTRIBUTE_F64 = 1 << 4
    ATTRIBUTE_END = 1 << 5
    ATTRIBUTE_REP = 1 << 6
    ATTRIBUTE_PM = 1 << 7
    ATTRIBUTE_NOEA = 1 << 8
    ATTRIBUTE_NOSEG = 1 << 9
    ATTRIBUTE_LAHF = 1 << 10
    ATTRIBUTE_CPL0 = 1 << 11
    ATTRIBUTE_NOREXB = 1 << 12

cdef enum Immediate:
    IMM_NONE = 0
    IMM_BYTE = 1                # Ib, Ibs, Jb: sign-extended
    IMM_WORD = 2                # Iw
    IMM_Z = 3                   # Iz, Jz: 16 or 32 bits, sign-extended
    IMM_V = 4                   # Iv: 16, 32 or 64 bits
    IMM_FAR = 5                 # Ap: offset, then selector
    IMM_OFFSET = 6              # Ob, Ov: an offset of the address size
    IMM_ENTER = 7               # Iw, Ib
    IMM_TWO_BYTES = 8           # Ib, Ib

# The same numbers as in tools/vector_info.py.
cdef enum Kind:
    KIND_NONE = 0
    KIND_VECTOR = 1
    KIND_MASK = 2
    KIND_GENERAL = 3

cdef enum:                      # a named enum cannot index an array
    FIELD_REG = 0
    FIELD_VVVV = 1
    FIELD_RM = 2
    FIELD_IMM = 3
    NO_TARGET = 3               # no row writes the register in an immediate

cdef enum:
    MEMORY_PART = 0x10          # the vector length, divided by 1 << (memory & 15)
    MEMORY_BY_W = 0x20          # 4 or 8
    ELEMENT_SCALAR = 0xFF       # one element, whatever the length

cdef enum Result:               # what floating-point numbers an instruction computes
    RESULT_PS = 1
    RESULT_PD = 2
    RESULT_SS = 3
    RESULT_SD = 4
    RESULT_PH = 5

cdef enum Vector:
    VECTOR_512 = 1 << 0         # needs the state of AVX-512
    VECTOR_LIG = 1 << 1         # scalar
    VECTOR_ROUND = 1 << 2       # EVEX.b with registers: rounding and no exceptions
    VECTOR_SAE = 1 << 3         # the same: no exceptions
    VECTOR_VSIB = 1 << 4
    VECTOR_ALIGNED = 1 << 5
    VECTOR_NO_SUPPRESS = 1 << 6     # memory is accessed whatever the opmask says
    VECTOR_FOLD = 1 << 7        # the operand is repeated: an element counts if any of its repetitions does
    VECTOR_TUPLE1 = 1 << 8      # disp8 counts elements
    VECTOR_MASKED = 1 << 9      # k0 is undefined
    VECTOR_WIG32 = 1 << 10      # W is ignored outside 64-bit mode

cdef struct EntryInfo:
    uint8_t prefix              # 0 any, 1 none, else 66 F3 F2
    uint8_t map                 # 0 one byte, 1 0F, 2 0F38, 3 0F3A
    uint8_t opcode
    int8_t digit                # ModRM.reg that it needs, or -1
    uint8_t modrm_exact
    uint8_t has_exact
    uint8_t imm_kind
    uint8_t vex                 # 0 no, 1 VEX, 2 EVEX
    uint8_t form                # 0 any, 1 memory, 2 register
    uint8_t width_kind          # 0 by operand size, 1 byte, 2 32 or 64 bits by REX.W
    uint8_t byte_registers      # 1 reg, 2 rm, 4 the opcode's: is a byte register
    uint8_t has_modrm           # bit 0; bit 1: the opcode's low three bits name a register; bit 2: VEX.vvvv does
    uint16_t attributes
    uint16_t feature            # number in cpu.features, or NO_FEATURE
    # VEX and EVEX rows: tools/vector_info.py
    uint8_t lengths             # bit n: L or L'L may be n
    uint8_t wide                # 0 W is ignored or chooses the operand size, 1 W0, 2 W1
    uint8_t kinds               # two bits each: what ModRM.reg, vvvv, ModRM.rm, imm[7:4] name: Kind
    uint8_t target              # which of the four is written; 3 none
    uint8_t memory              # log2 of the memory operand's bytes; MEMORY_PART, MEMORY_BY_W
    uint8_t broadcast           # log2 of the element's bytes, plus 1; 0 no broadcast
    uint8_t element             # log2 of the bytes that an opmask's bit stands for, plus 1; 0 no opmask
    uint8_t result              # Result
    uint16_t vector             # Vector
    uint16_t feature_256        # what VEX.256 needs besides, or NO_FEATURE

cdef struct Root:
    uint16_t first
    uint16_t count

# Handlers by form (register, memory, memory with LOCK) and log2 of the operand size.
cdef struct HandlerSet:
    Handler form[3][4]

ctypedef HandlerSet* HandlerSetP
ctypedef EntryInfo* EntryInfoP
