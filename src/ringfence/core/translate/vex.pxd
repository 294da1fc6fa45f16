# Instructions with a VEX or EVEX prefix.
from libc.stdint cimport uint8_t
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.lowering cimport Lowering

cdef struct Prefix:
    int escape                  # C4, or 62: EVEX
    uint8_t payload[3]
    uint8_t opcode

ctypedef Prefix* PrefixP

# False, nothing emitted, where the instruction has to be interpreted.
cdef bint put_copy_vex(Builder* b, Lowering* low) noexcept nogil
