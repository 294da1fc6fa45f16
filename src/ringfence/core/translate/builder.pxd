# A translation in the making.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.translate.encode cimport Emitter, Operand, put_load, put_store
from ringfence.core.translate.translation cimport Exit, Reloc, Site, Translation, Translator
from ringfence.core.x86.state cimport BLOCK_LIMIT, Block, Cpu, Instr, TlbEntry

cdef enum:
    STUB_LIMIT = 256
    FIELD_LIMIT = 4096          # addresses of the context and of records
    RELOC_LIMIT = 1024
    HOLDER_LIMIT = 5            # registers that a loop has for TLB entries and its counter
    WINDOW_LIMIT = 6

cdef enum FlagState:
    FLAGS_IN_HOST = 0           # the host's flags are the guest's
    FLAGS_SAVED = 1             # cpu.saved_flags holds all that are live
    FLAGS_BOTH = 2

# An access by register: base + index << scale + disp.
cdef struct Access:
    int base
    int index
    int scale
    int size
    int is_write
    int alignment               # that the operand must have, or 0
    int64_t disp

#  Code to emit after the block's end: where a probe misses, or a branch is taken.
cdef struct Stub:
    uint8_t* field              # the jump that comes here
    Site* site                  # a call-out, or
    Exit* exit                  # an exit
    uint32_t saves_flags        # live at its target, and only in the host's flags
    uint32_t leaves             # for the run loop
    uint32_t is_counted         # the exit is one of the counted loop
    int has_slot                # the probe behind the site's slot:
    Access access               #   the operand
    int64_t low                 #   where the range that is checked starts, as a displacement
    int size                    #   its bytes
    int holder                  #   the register that takes the addend, or NO_REG: s1, as `access` needs it
    uint8_t* second_field       #   another branch that comes here
    uint8_t* back               #   where the access itself is

#  A page that a probe has found, and whose addend is still in a register: accesses close to the
#  probe's need none of their own. Addresses count from `base` (+ index) as it was at the probe.
cdef struct Window:
    int holder                  # host register with the addend, or NO_REG: none
    int base                    # guest registers
    int index
    int scale
    int is_write
    int64_t moved               # what has been added to `base` since
    int64_t low                 # [low, high) lies in the page
    int64_t high
    int alignment               # of `low`, as far as it was checked

cdef struct Builder:
    Emitter e
    Cpu* cpu
    Translator* t
    Translation* out
    Block* block
    const uint8_t* code         # the block's guest bytes
    uint8_t crossing[16]        # ... gathered, where they lie in two pages
    Instr* i                    # the instruction being translated
    int index                   # its number
    int count                   # instructions in the translation
    int is_64
    int is_stack32
    int s0                      # scratch registers: the guest's two are in memory
    int s1
    uint32_t in_memory          # bit n: guest register n lives in cpu.a.regs
    int flags                   # FlagState
    int holders[5]              # host registers that may hold addends
    int holder_count
    int is_s1_used              # by the running instruction
    int has_windows             # coalesce probes
    int is_hot                  # give them slots
    int is_loop                 # it comes back to its start again and again
    Window windows[6]           # the first one's holder is s1
    int loop_end                # the last branch to the block's start, if the loop is counted, or -1
    int is_counted              # the counted loop is being emitted
    Exit* loop_exit             # of that branch in the code before
    Window loop_windows[6]      # ... and what was open there
    uint32_t loop_head
    int stub_count
    int failed                  # the arena is used up
    TlbEntry* tlb_read
    TlbEntry* tlb_write
    uint8_t classes[34]         # CLASS_* of each instruction
    uint8_t kills[34]           # FlagSet that each instruction overwrites for certain
    uint8_t live_in[34]         # ... live before it
    uint8_t live_out[34]
    uint8_t live_taken[34]      # ... at the target of a branch
    Stub stubs[256]
    uint16_t fields[4096]
    Reloc relocs[1024]
    int reloc_count

ctypedef Builder* BuilderP
ctypedef Window* WindowP
ctypedef Access* AccessP
ctypedef Stub* StubP

cdef inline bint is_in_memory(Builder* b, int reg) noexcept nogil:
    return reg < 16 and (b.in_memory >> reg) & 1

cdef inline void* guest_register(Builder* b, int reg) noexcept nogil:
    return &b.cpu.a.regs[reg]

cdef inline int fetch_register(Builder* b, int reg, int scratch) noexcept nogil:
    """A host register that holds guest register `reg`: its own, or `scratch`."""
    if is_in_memory(b, reg):
        if scratch == b.s1:
            b.is_s1_used = 1
        put_load(&b.e, scratch, guest_register(b, reg))
        return scratch
    return reg

cdef inline uint64_t rip_after(Builder* b) noexcept nogil:
    """RIP of the next instruction."""
    cdef uint64_t rip = b.out.rip + b.i.offset + b.i.length
    return rip if b.is_64 else rip & 0xFFFFFFFFULL
