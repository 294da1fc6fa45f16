# x87 and SSE state in memory: XSAVE and XCR0.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

cdef enum:
    COMPACTED = 0x8000000000000000ULL

#  Bytes 512 to 575 of an XSAVE area.
cdef struct Header:
    uint64_t present                # XSTATE_BV
    uint64_t layout                 # XCOMP_BV
    uint64_t reserved[6]

ctypedef Header* HeaderP

cdef void xsave(Cpu* cpu, Instr* i) noexcept nogil
cdef void xsaveopt(Cpu* cpu, Instr* i) noexcept nogil
cdef void xsavec(Cpu* cpu, Instr* i) noexcept nogil
cdef void xrstor(Cpu* cpu, Instr* i) noexcept nogil
cdef void xgetbv(Cpu* cpu, Instr* i) noexcept nogil
cdef void xsetbv(Cpu* cpu, Instr* i) noexcept nogil
