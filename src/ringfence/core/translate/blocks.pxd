# From a decoded block to a translation.
from libc.stdint cimport uint64_t
from ringfence.core.translate.translation cimport Translation
from ringfence.core.x86.state cimport Block, Cpu

# The block's translation at `rip`; NULL where it has to be interpreted. With `primary`, that one's twin. Code that is
# `is_hot` takes more room and runs faster.
cdef Translation* translate_block(
    Cpu* cpu, Block* block, uint64_t rip, Translation* primary, bint is_hot) noexcept nogil
