# Processor state in memory: XSAVE and XCR0.
from ringfence.core.x86.state cimport Cpu, Instr

cdef void xsave(Cpu* cpu, Instr* i) noexcept nogil
cdef void xsaveopt(Cpu* cpu, Instr* i) noexcept nogil
cdef void xsavec(Cpu* cpu, Instr* i) noexcept nogil
cdef void xrstor(Cpu* cpu, Instr* i) noexcept nogil
cdef void xgetbv(Cpu* cpu, Instr* i) noexcept nogil
cdef void xsetbv(Cpu* cpu, Instr* i) noexcept nogil
