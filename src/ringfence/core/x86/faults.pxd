# Raising an exception from inside an instruction: SDM vol. 3, chapter 6.
#
# Every function here leaves the instruction through cpu.escape and does not return. The
# instruction must not have changed any guest state that a restart would see.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu

cdef void raise_fault(Cpu* cpu, int vector) noexcept nogil                       # no error code
cdef void raise_error(Cpu* cpu, int vector, uint32_t error) noexcept nogil       # with one
cdef void raise_gp(Cpu* cpu) noexcept nogil                                      # #GP(0)
cdef void raise_ud(Cpu* cpu) noexcept nogil
cdef void raise_page_fault(Cpu* cpu, uint64_t la, uint32_t error) noexcept nogil
cdef void leave(Cpu* cpu, int reason) noexcept nogil                             # exit, instruction not done
