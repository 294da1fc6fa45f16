# x87 and SSE state in memory: the FXSAVE image.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu, Fxsave, Instr

cdef void sanitize_fpu(Cpu* cpu) noexcept nogil
cdef uint64_t ea_image(Cpu* cpu, Instr* i, int size, int alignment, int is_write) noexcept nogil
cdef void write_x87(Cpu* cpu, Instr* i, Fxsave* to) noexcept nogil
cdef void write_mxcsr(Cpu* cpu, Fxsave* to) noexcept nogil
cdef void read_x87(Cpu* cpu, Instr* i, Fxsave* image) noexcept nogil
cdef void load_mxcsr(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_mxcsr(Cpu* cpu, Instr* i) noexcept nogil
cdef void fxsave(Cpu* cpu, Instr* i) noexcept nogil
cdef void fxrstor(Cpu* cpu, Instr* i) noexcept nogil
cdef void ldmxcsr(Cpu* cpu, Instr* i) noexcept nogil
cdef void stmxcsr(Cpu* cpu, Instr* i) noexcept nogil
