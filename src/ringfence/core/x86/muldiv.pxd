# Multiplication and division with a double-width operand: SDM vol. 2, MUL IMUL DIV IDIV MULX.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

cdef extern from *:
    """
    typedef __int128 ringfence_int128;
    typedef unsigned __int128 ringfence_uint128;
    """
    ctypedef long long int128 "ringfence_int128"
    ctypedef unsigned long long uint128 "ringfence_uint128"

cdef void mul(Cpu* cpu, Instr* i) noexcept nogil
cdef void imul(Cpu* cpu, Instr* i) noexcept nogil
cdef void divide(Cpu* cpu, Instr* i) noexcept nogil
cdef void div(Cpu* cpu, Instr* i) noexcept nogil
cdef void divide_signed(Cpu* cpu, Instr* i) noexcept nogil
cdef void idiv(Cpu* cpu, Instr* i) noexcept nogil
cdef void mulx(Cpu* cpu, Instr* i) noexcept nogil
