# The thunk of a VEX or EVEX instruction: every operand in a slot of a frame.
#
# SAFETY: as in thunk_emit.pxd: the code comes from a row of the table, plus W, L'L, z and one
# immediate byte, each of which is harmless whatever its value.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from ringfence.core.x86.thunk_emit cimport Code

cdef enum VectorShape:
    VECTOR_FLOAT = 1 << 0           # MXCSR = frame.mxcsr around the instruction, its new value stored back
    VECTOR_FLAGS = 1 << 1           # rax = SF ZF AF PF CF in byte 1, OF in byte 0

#  Slots in the order of decode_table's fields: ModRM.reg, vvvv, ModRM.rm or memory, imm[7:4]. A vector
#  has its bytes there, an opmask or general register the first eight.
cdef struct VectorFrame:
    uint8_t slot[4][64]
    uint64_t opmask
    uint32_t mxcsr

cdef struct VectorOpcode:
    uint8_t is_evex
    uint8_t prefix                  # 0 66 f3 f2
    uint8_t map
    uint8_t opcode
    uint8_t wide
    uint8_t length
    uint8_t zeroing
    uint8_t has_opmask
    uint8_t is_memory               # the third slot is a memory operand
    uint8_t kinds                   # as in EntryInfo
    uint8_t target
    uint8_t has_vvvv
    int digit                       # -1 none
    int imm                         # -1 none

ctypedef VectorFrame* VectorFrameP
ctypedef VectorOpcode* VectorOpcodeP

cdef void emit_vector(Code* code, int shape, VectorOpcode* op) noexcept nogil
