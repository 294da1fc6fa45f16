# A translation in the making.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from ringfence.core.translate.encode cimport Emitter, Operand, put_load, put_store
from ringfence.core.translate.translation cimport Exit, Site, Translation, Translator
from ringfence.core.x86.state cimport BLOCK_LIMIT, Block, Cpu, Instr, TlbEntry

cdef enum:
    STUB_LIMIT = 256

cdef enum FlagState:
    FLAGS_IN_HOST = 0           # the host's flags are the guest's
    FLAGS_SAVED = 1             # cpu.saved_flags holds all that are live
    FLAGS_BOTH = 2

#  Code to emit after the block's end: where a probe misses, or a branch is taken.
cdef struct Stub:
    uint8_t* field              # the jump that comes here
    Site* site                  # a call-out, or
    Exit* exit                  # an exit
    uint32_t saves_flags        # live at its target, and only in the host's flags
    uint32_t leaves             # for the run loop

cdef struct Builder:
    Emitter e
    Cpu* cpu
    Translator* t
    Translation* out
    Block* block
    const uint8_t* code         # the block's guest bytes
    Instr* i                    # the instruction being translated
    int index                   # its number
    int count                   # instructions in the translation
    int is_64
    int is_stack32
    int s0                      # scratch registers: the guest's two are in memory
    int s1
    uint32_t in_memory          # bit n: guest register n lives in cpu.a.regs
    int flags                   # FlagState
    int stub_count
    int failed                  # the arena is used up
    TlbEntry* tlb_read
    TlbEntry* tlb_write
    uint8_t kills[34]           # FlagSet that each instruction overwrites for certain
    uint8_t live_in[34]         # ... live before it
    uint8_t live_out[34]
    uint8_t live_taken[34]      # ... at the target of a branch
    Stub stubs[256]

ctypedef Builder* BuilderP

cdef inline bint is_in_memory(Builder* b, int reg) noexcept nogil:
    return reg < 16 and (b.in_memory >> reg) & 1

cdef inline void* guest_register(Builder* b, int reg) noexcept nogil:
    return &b.cpu.a.regs[reg]

cdef inline int fetch_register(Builder* b, int reg, int scratch) noexcept nogil:
    """A host register that holds guest register `reg`: its own, or `scratch`."""
    if is_in_memory(b, reg):
        put_load(&b.e, scratch, guest_register(b, reg))
        return scratch
    return reg

cdef inline uint64_t rip_after(Builder* b) noexcept nogil:
    """RIP of the next instruction."""
    cdef uint64_t rip = b.out.rip + b.i.offset + b.i.length
    return rip if b.is_64 else rip & 0xFFFFFFFFULL
