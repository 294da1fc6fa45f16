# Copies of translations: for another RIP, or from the cache on disk.
from libc.stdint cimport uint8_t, uint64_t
from ringfence.core.translate.translation cimport Translation, Translator
from ringfence.core.x86.state cimport Block, Cpu

#  A translation to be copied, here or as it was kept.
cdef struct Image:
    Translation* head           # and its records behind it
    uint8_t* code
    uint64_t data               # the address of its records when the code was made
    uint64_t cpu                # and the vCPU's

ctypedef Image* ImageP

# The block's translation at `rip` made from an image of the same code in the same context; NULL if it can't be.
# There is room for it.
cdef Translation* replicate(Cpu* cpu, Translator* t, Image* image, Block* block, uint64_t rip) noexcept nogil
# ... from a translation of the block at another RIP.
cdef Translation* replicate_model(Cpu* cpu, Translator* t, Block* block, uint64_t rip) noexcept nogil
