# String instructions: SDM vol. 2, MOVS CMPS STOS LODS SCAS, with REP.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

cdef enum StringKind:
    MOVS = 0
    STOS = 1
    LODS = 2
    CMPS = 3
    SCAS = 4

cdef bint is_repeated(Instr* i) noexcept nogil
cdef void step(Cpu* cpu, Instr* i, int index, int64_t elements) noexcept nogil
cdef uint64_t source(Cpu* cpu, Instr* i, int size) noexcept nogil
cdef uint64_t target(Cpu* cpu, Instr* i, int size, int is_write) noexcept nogil
cdef void one_movs(Cpu* cpu, Instr* i) noexcept nogil
cdef void one_stos(Cpu* cpu, Instr* i) noexcept nogil
cdef void one_lods(Cpu* cpu, Instr* i) noexcept nogil
cdef void one_cmps(Cpu* cpu, Instr* i) noexcept nogil
cdef void one_scas(Cpu* cpu, Instr* i) noexcept nogil
cdef void movs(Cpu* cpu, Instr* i) noexcept nogil
cdef void stos(Cpu* cpu, Instr* i) noexcept nogil
cdef void lods(Cpu* cpu, Instr* i) noexcept nogil
cdef void cmps(Cpu* cpu, Instr* i) noexcept nogil
cdef void scas(Cpu* cpu, Instr* i) noexcept nogil
