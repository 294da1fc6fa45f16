# The translator's run loop.
from ringfence.core.x86.state cimport Cpu

cdef enum:
    TRANSLATE_BUDGET = 65536 * 40   # INSTR_BYTES times the instructions between two looks at the clock

cdef int run_translated(Cpu* cpu) noexcept nogil
