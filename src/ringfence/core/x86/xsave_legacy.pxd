# x87 and SSE state in memory: the FXSAVE image.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu, Fxsave, Instr

cdef enum Xcr0:
    XCR0_X87 = 1 << 0
    XCR0_SSE = 1 << 1
    XCR0_VALID = 3

cdef void sanitize_fpu(Cpu* cpu) noexcept nogil
cdef int xmm_bytes(Cpu* cpu) noexcept nogil
cdef uint64_t ea_image(Cpu* cpu, Instr* i, int size, int alignment, int is_write) noexcept nogil
cdef void write_x87(Cpu* cpu, Instr* i, Fxsave* to) noexcept nogil
cdef void write_mxcsr(Cpu* cpu, Fxsave* to) noexcept nogil
cdef void read_x87(Cpu* cpu, Instr* i, Fxsave* image) noexcept nogil
cdef void fxsave(Cpu* cpu, Instr* i) noexcept nogil
cdef void fxrstor(Cpu* cpu, Instr* i) noexcept nogil
cdef void ldmxcsr(Cpu* cpu, Instr* i) noexcept nogil
cdef void stmxcsr(Cpu* cpu, Instr* i) noexcept nogil
