# Delivering events: interrupts, exceptions, software interrupts.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu

cdef enum EventKind:
    EVENT_INTERRUPT = 0         # external or NMI
    EVENT_FAULT = 1             # restartable: RF is set in the pushed flags
    EVENT_TRAP = 2              # #DB after an instruction, INT1
    EVENT_SOFTWARE = 3          # INT n, INT3, INTO: the gate's DPL is checked, EXT stays clear

cdef enum EventClass:
    CLASS_BENIGN = 0
    CLASS_CONTRIBUTORY = 1
    CLASS_PAGE_FAULT = 2
    CLASS_DOUBLE_FAULT = 3

# `rip` is what is pushed; cpu.a.rip is the address to restart from if delivery itself faults.
cdef void deliver(Cpu* cpu, int vector, int kind, bint has_error, uint32_t error, uint64_t rip) noexcept nogil

# -- for the run loop --
cdef void deliver_fault(Cpu* cpu) noexcept nogil
# A fault inside delivery: 0, or -1 for shutdown (triple fault).
cdef int nested_fault(Cpu* cpu) noexcept nogil
cdef void deliver_interrupt(Cpu* cpu, int vector) noexcept nogil
cdef void deliver_nmi(Cpu* cpu) noexcept nogil
cdef void deliver_trap_db(Cpu* cpu) noexcept nogil
