# The translator's run loop.
from ringfence.core.x86.state cimport Cpu

cdef enum:
    HOT_SAMPLES = 3             # times that the budget runs out in a block before it counts as hot

cdef int run_translated(Cpu* cpu) noexcept nogil
