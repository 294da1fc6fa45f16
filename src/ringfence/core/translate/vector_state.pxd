# The guest's x87 and vector registers between the host's registers and cpu.a.
from ringfence.core.x86.state cimport Cpu

# How much of the host's vector unit the guest may use as it is now: LEVEL_*, 0 for none.
cdef int vector_level(Cpu* cpu) noexcept nogil
# After translated code has put its vector registers by: what XSAVEC left out, and the header.
cdef void settle_vector(Cpu* cpu) noexcept nogil
