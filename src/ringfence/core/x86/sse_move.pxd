# SSE moves and logic: no thunks.
from ringfence.core.x86.sse cimport ConstVector
from ringfence.core.x86.state cimport Cpu, Instr

cdef void store_masked(Cpu* cpu, Instr* i, ConstVector data, ConstVector mask, int size) noexcept nogil
cdef void load_aligned(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_unaligned(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_aligned(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_unaligned(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_8(Cpu* cpu, Instr* i) noexcept nogil
cdef void movq_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void movq_store_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_low(Cpu* cpu, Instr* i) noexcept nogil
cdef void store_high(Cpu* cpu, Instr* i) noexcept nogil
cdef void movss_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void movss_store_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void movsd_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void movsd_store_register(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_low(Cpu* cpu, Instr* i) noexcept nogil
cdef void load_high(Cpu* cpu, Instr* i) noexcept nogil
cdef void movhlps(Cpu* cpu, Instr* i) noexcept nogil
cdef void movlhps(Cpu* cpu, Instr* i) noexcept nogil
cdef void movd_load(Cpu* cpu, Instr* i) noexcept nogil
cdef void movd_store(Cpu* cpu, Instr* i) noexcept nogil
cdef void logic_and(Cpu* cpu, Instr* i) noexcept nogil
cdef void logic_andnot(Cpu* cpu, Instr* i) noexcept nogil
cdef void logic_or(Cpu* cpu, Instr* i) noexcept nogil
cdef void logic_xor(Cpu* cpu, Instr* i) noexcept nogil
cdef void maskmovdqu(Cpu* cpu, Instr* i) noexcept nogil
