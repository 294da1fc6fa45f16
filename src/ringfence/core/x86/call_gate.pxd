# Call gates.
from libc.stdint cimport uint64_t
from ringfence.core.x86.descriptor cimport Descriptor
from ringfence.core.x86.state cimport Cpu

# The gate itself has been checked: its DPL allows the use, and it is present.
cdef void call_through_gate(Cpu* cpu, Descriptor* gate, uint64_t rip) noexcept nogil
cdef void jump_through_gate(Cpu* cpu, Descriptor* gate) noexcept nogil
