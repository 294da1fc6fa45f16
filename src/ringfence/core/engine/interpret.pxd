# The interpreter's run loop.
from ringfence.core.x86.state cimport Cpu

cdef enum:
    BUDGET = 4096 * 40          # INSTR_BYTES times the instructions between two looks at the clock

cdef int run(Cpu* cpu) noexcept nogil
