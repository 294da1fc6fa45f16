# Decoded blocks of guest code, found by guest-physical address; self-modifying code drops them.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Block, Cpu, Instr

cdef enum:
    BLOCK_CAPACITY = 262144
    INSTR_CAPACITY = 1572864
    HASH_BUCKETS = 262144
    PAGE_BUCKETS = 8192

cdef struct BlockCache:
    Block* blocks
    Instr* instrs
    uint32_t block_count
    uint32_t instr_count
    Block* buckets[262144]
    Block* pages[8192]          # blocks by the page they start on
    Block* second_pages[8192]   # blocks that cross into a page
    Block step                  # the block of a single step, decoded anew each time
    Instr step_instrs[2]

ctypedef BlockCache* BlockCacheP

cdef BlockCache* new_block_cache() noexcept
cdef void free_block_cache(BlockCache* cache) noexcept
cdef Block* lookup_block(Cpu* cpu) noexcept nogil
cdef Block* known_block(Cpu* cpu, uint64_t gpa) noexcept nogil
cdef void note_jump(Cpu* cpu, Instr* first) noexcept nogil
cdef void fall_through(Cpu* cpu, Instr* i) noexcept nogil
cdef Block* step_block(Cpu* cpu) noexcept nogil
cdef void enter_block(Cpu* cpu, Block* block) noexcept nogil
