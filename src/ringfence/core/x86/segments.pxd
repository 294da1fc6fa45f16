# Loading segment registers. Descriptor checks come first, commits last: a commit can't fault.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.descriptor cimport Descriptor
from ringfence.core.x86.state cimport Cpu, Instr, MODE_CODE64, MODE_CODE_MASK, MODE_STACK32, RSP

cdef enum:
    DELIVERING = 1              # Cpu.is_delivering: an event is being delivered
    DELIVERING_EXTERNAL = 2     # ... that the program did not ask for: EXT in error codes

# An error code that names `selector`, with EXT where an event is being delivered.
cdef void raise_selector(Cpu* cpu, int vector, uint32_t selector) noexcept nogil
# False: beyond its table.
cdef bint read_descriptor(Cpu* cpu, uint32_t selector, Descriptor* d) noexcept nogil
# The same, raising vector(selector); a null selector raises vector(0).
cdef void require_descriptor(Cpu* cpu, uint32_t selector, int vector, Descriptor* d) noexcept nogil
# Long mode: bits 63..32 of a system descriptor's base (or a gate's offset). False: malformed.
cdef bint read_upper(Cpu* cpu, Descriptor* d, uint32_t* upper) noexcept nogil
cdef void mark_accessed(Cpu* cpu, Descriptor* d) noexcept nogil
cdef void commit(
    Cpu* cpu, int name, uint32_t selector, uint64_t base, uint32_t limit, uint32_t attr) noexcept nogil
cdef void commit_segment(Cpu* cpu, int name, uint32_t selector, const Descriptor* d) noexcept nogil
cdef void commit_null(Cpu* cpu, int name, uint32_t selector) noexcept nogil
cdef void commit_real(Cpu* cpu, int name, uint32_t selector) noexcept nogil
cdef void commit_v86(Cpu* cpu, int name, uint32_t selector) noexcept nogil
# Is `selector` a stack for privilege level `cpl`? Errors are vector(selector), #SS if not present.
cdef void check_stack_segment(Cpu* cpu, uint32_t selector, int cpl, int vector, Descriptor* d) noexcept nogil
cdef void check_data_segment(Cpu* cpu, uint32_t selector, int cpl, int vector, Descriptor* d) noexcept nogil
# MOV, POP and LxS: any mode, commit included.
cdef void load_segment(Cpu* cpu, int name, uint32_t selector) noexcept nogil
# After a return to an outer level: data segments that the new CPL may not use become null.
cdef void drop_segments(Cpu* cpu) noexcept nogil

cdef inline uint32_t external_bit(const Cpu* cpu) noexcept nogil:
    """EXT of an error code raised now."""
    return (cpu.is_delivering & DELIVERING_EXTERNAL) != 0

cdef inline uint64_t moved_sp(const Cpu* cpu, int delta) noexcept nogil:
    """RSP with `delta` added in the stack's width."""
    cdef uint64_t rsp = cpu.a.regs[RSP]
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64:
        return rsp + delta
    if cpu.mode & MODE_STACK32:
        return <uint32_t>(rsp + delta)
    return (rsp & ~<uint64_t>0xFFFF) | ((rsp + delta) & 0xFFFF)
