# From a decoded block to a translation.
from ringfence.core.translate.translation cimport Translation
from ringfence.core.x86.state cimport Block, Cpu

# NULL where the block has to be interpreted.
cdef Translation* translate_block(Cpu* cpu, Block* block) noexcept nogil
