# The host code of a thunk: what it does around the guest's one instruction.
#
# A thunk takes three pointers (rdi, rsi, rdx) and returns rax; `Shape` says what it does with them.
#
# SAFETY: the emitted bytes come from a row of the instruction table, plus one immediate byte or a
# three-bit register number; no other byte that a guest controls becomes host code.
from libc.stdint cimport uint8_t, uint64_t

cdef enum Shape:
    LOAD_XMM = 1 << 0           # xmm1 = [rdi], the destination's old value
    STORE_XMM = 1 << 1          # [rdi] = xmm1
    LOAD_MM = 1 << 2            # mm1 = [rdi]
    STORE_MM = 1 << 3           # [rdi] = mm1
    FROM_16 = 1 << 4            # xmm2 = 16 bytes at [rsi], the source
    FROM_8 = 1 << 5
    FROM_4 = 1 << 6
    FROM_2 = 1 << 7
    FROM_MM8 = 1 << 8           # mm2 = 8 bytes at [rsi]
    FROM_MM4 = 1 << 9
    FROM_GPR = 1 << 10          # rax = [rsi], the source
    TO_GPR = 1 << 11            # rax is the destination
    MASK = 1 << 12              # xmm0 = [rdx], the implicit operand of BLENDV and SHA256RNDS2
    FLOAT = 1 << 13             # MXCSR = [rdx] around the instruction, its new value stored back
    FLAGS = 1 << 14             # rax = SF ZF AF PF CF in byte 1, OF in byte 0
    STRING = 1 << 15            # rdx names a StringSlot
    FPU = 1 << 16               # x87 state from the FXSAVE image [rdi] to the image [rdx]
    FPU_MEMORY = 1 << 17        # the instruction's memory operand is at [rsi]
    FPU_FLAGS = 1 << 18         # rsi and rax: SF ZF AF PF CF in byte 1, before and after
    VECTOR = 3                  # LOAD_XMM | STORE_XMM
    MMX = 12                    # LOAD_MM | STORE_MM

#  The registers that PCMPESTRI and its kin take and give besides their two operands.
cdef struct StringSlot:
    uint64_t rax
    uint64_t rdx
    uint64_t rcx                # out
    uint64_t unused
    uint8_t xmm0[16]            # out

#  The one instruction in a thunk.
cdef struct Opcode:
    uint8_t prefix              # 0 66 f3 f2
    uint8_t map                 # 0 one byte, 1 0f, 2 0f38, 3 0f3a
    uint8_t opcode
    uint8_t wide                # REX.W
    int digit                   # ModRM.reg as part of the opcode; -1 none
    int modrm                   # the whole ModRM byte of an x87 register form; -1 none
    int imm                     # the immediate byte; -1 none

#  Host code under construction.
cdef struct Code:
    uint8_t data[128]
    int size

ctypedef StringSlot* StringSlotP
ctypedef Opcode* OpcodeP
ctypedef Code* CodeP
ctypedef const char* CodeBytes
ctypedef uint64_t (*Thunk)(void* rdi, const void* rsi, void* rdx) noexcept nogil

cdef void put_byte(Code* code, int value) noexcept nogil
cdef void put(Code* code, const char* data, int size) noexcept nogil
cdef void emit_thunk(Code* code, int shape, Opcode* op) noexcept nogil
