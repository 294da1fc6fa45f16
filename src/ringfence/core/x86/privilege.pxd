# Privilege checks that many instructions share, and the end of a block.
from libc.stdint cimport uint64_t
from ringfence.core.x86.lapic cimport lapic_pending
from ringfence.core.x86.faults cimport raise_gp
from ringfence.core.x86.operands cimport jump, next_rip, wrap_rip
from ringfence.core.x86.state cimport CR4_UMIP, IOPL, Cpu, Instr

cdef inline void require_cpl0(Cpu* cpu) noexcept nogil:
    if cpu.a.cpl != 0:
        raise_gp(cpu)

cdef inline void require_umip(Cpu* cpu) noexcept nogil:
    """CR4.UMIP: SGDT, SIDT, SLDT, STR and SMSW only at CPL 0."""
    if cpu.a.cpl != 0 and cpu.a.cr4 & CR4_UMIP:
        raise_gp(cpu)

cdef inline int iopl_of(const Cpu* cpu) noexcept nogil:
    return (cpu.a.rflags & IOPL) >> 12

cdef inline void end_at_next(Cpu* cpu, Instr* i) noexcept nogil:
    """The block ends here; go on at the instruction after `i`, with what changed in force."""
    jump(cpu, i, wrap_rip(cpu, next_rip(cpu, i)))

cdef inline bint has_interrupt(const Cpu* cpu) noexcept nogil:
    """Does anything wait for RFLAGS.IF?"""
    return lapic_pending(&cpu.a.lapic) >= 0 or cpu.inject_vector >= 0 or cpu.window_requested != 0
