# MMX: the x87 registers as eight 64-bit vectors.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void mmx(Cpu* cpu, Instr* i) noexcept nogil
cdef void mmx_4(Cpu* cpu, Instr* i) noexcept nogil
cdef void mmx_shift(Cpu* cpu, Instr* i) noexcept nogil
cdef void movd_load(Cpu* cpu, Instr* i) noexcept nogil
cdef void movd_store(Cpu* cpu, Instr* i) noexcept nogil
cdef void movq_load(Cpu* cpu, Instr* i) noexcept nogil
cdef void movq_store(Cpu* cpu, Instr* i) noexcept nogil
cdef void pinsrw(Cpu* cpu, Instr* i) noexcept nogil
cdef void pextrw(Cpu* cpu, Instr* i) noexcept nogil
cdef void pmovmskb(Cpu* cpu, Instr* i) noexcept nogil
cdef void maskmovq(Cpu* cpu, Instr* i) noexcept nogil
cdef void movq2dq(Cpu* cpu, Instr* i) noexcept nogil
cdef void movdq2q(Cpu* cpu, Instr* i) noexcept nogil
cdef void cvtpi(Cpu* cpu, Instr* i) noexcept nogil
cdef void cvtps2pi(Cpu* cpu, Instr* i) noexcept nogil
cdef void cvtpd2pi(Cpu* cpu, Instr* i) noexcept nogil
cdef void emms(Cpu* cpu, Instr* i) noexcept nogil
