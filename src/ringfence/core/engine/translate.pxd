# The translator's run loop.
from ringfence.core.x86.state cimport Cpu

cdef enum:
    TRANSLATE_BUDGET = 65536 * 40   # INSTR_BYTES times the instructions between two looks at the clock

    HOT_SAMPLES = 3             # times that the budget runs out in a block before it counts as hot

cdef int run_translated(Cpu* cpu) noexcept nogil
