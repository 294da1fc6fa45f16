# From a decoded block to a translation.
from libc.stdint cimport uint64_t
from ringfence.core.translate.translation cimport Translation
from ringfence.core.x86.state cimport Block, Cpu

cdef enum:
    HOT = 1                     # code that takes more room and runs faster
    HOT_LOOP = 2                # ... and mostly goes back to its start

# The block's translation at `rip`; NULL where it has to be interpreted. With `primary`, that one's twin.
cdef Translation* translate_block(
    Cpu* cpu, Block* block, uint64_t rip, Translation* primary, int heat) noexcept nogil
