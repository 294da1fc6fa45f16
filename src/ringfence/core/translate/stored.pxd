# Translations from an earlier run, found by the guest code that they are of.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.translate.translation cimport Translation, Translator
from ringfence.core.x86.state cimport Block, Cpu

#  How one is kept: this, the guest code that it depends on, its records, its code.
cdef struct Stored:
    uint64_t hash               # of the block's code and what else must agree
    uint64_t data               # the address that its records had
    uint64_t cpu                # and the vCPU
    uint32_t bytes              # of all this, a multiple of 16
    uint32_t data_bytes
    uint32_t code_bytes
    uint16_t low                # page offsets of the guest code
    uint16_t high
    uint16_t offset             # of the block in its page
    uint16_t length             # of the block
    uint16_t context
    uint16_t age                # runs in which it was not used
    uint32_t pad[4]             # to a multiple of 16

ctypedef Stored* StoredP

# The block's translation at `rip`, if one is stored. There is room for it.
cdef Translation* replicate_stored(Cpu* cpu, Translator* t, Block* block, uint64_t rip) noexcept nogil
# Use what was stored; the translator reads from `data` until it is freed. False: it is damaged.
cdef bint use_store(Translator* t, const uint8_t* data, uint64_t size) except -1
cdef void forget_store(Translator* t) noexcept
# What to store: the translations that there are, and what was stored before and is not old.
cdef bytes store_translations(Cpu* cpu, uint64_t limit)
