# Privileged instructions that ring 0 runs without leaving translated code.
from ringfence.core.translate.builder cimport Builder

# Each returns False, nothing emitted, where the instruction has to be interpreted.
cdef bint put_disable_interrupts(Builder* b) noexcept nogil
cdef bint put_swap_base(Builder* b) noexcept nogil
