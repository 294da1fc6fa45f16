# A stack that is not (yet) the current one: frames are written to it before anything is committed.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from ringfence.core.x86.descriptor cimport Descriptor
from ringfence.core.x86.state cimport AC, Cpu, VIEW_SUPERVISOR, VIEW_SUPERVISOR_AC, VIEW_USER

cdef struct Stack:
    uint64_t base
    uint64_t sp                 # the whole register; `mask` says which bits move
    uint64_t mask
    uint32_t limit
    uint32_t attr
    uint32_t selector           # named in the error code of #SS; 0 for the current stack
    int view
    bint is_flat                # 64-bit: no base, no limit, canonical check

cdef void open_current(Cpu* cpu, Stack* s) noexcept nogil
cdef void open_inner(Cpu* cpu, Stack* s, const Descriptor* d, uint64_t sp) noexcept nogil
cdef void open_flat(Cpu* cpu, Stack* s, uint64_t rsp, int cpl) noexcept nogil
cdef void push_on(Cpu* cpu, Stack* s, uint64_t value, int size) noexcept nogil
cdef uint64_t pop_off(Cpu* cpu, Stack* s, int size) noexcept nogil
# SS and (E)SP for an inner privilege level, from the TSS.
cdef uint64_t read_tss(Cpu* cpu, uint32_t offset, int size) noexcept nogil
cdef void read_inner_stack(Cpu* cpu, int cpl, uint32_t* ss, uint64_t* sp) noexcept nogil

cdef inline int view_at(const Cpu* cpu, int cpl) noexcept nogil:
    """The TLB view of an access made by the program at privilege level `cpl`."""
    if cpl == 3:
        return VIEW_USER
    return VIEW_SUPERVISOR_AC if cpu.a.rflags & AC and cpu.a.cpl < 3 else VIEW_SUPERVISOR

cdef inline void skip(Stack* s, int64_t delta) noexcept nogil:
    """Move the stack pointer without touching memory."""
    s.sp = (s.sp & ~s.mask) | ((s.sp + delta) & s.mask)
