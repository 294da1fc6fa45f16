from ringfence.core.memory.guest_memory cimport GuestMemory
from ringfence.core.x86.state cimport Cpu

cdef class Vcpu:
    cdef Cpu* cpu
    cdef GuestMemory memory
    cdef readonly object regs
    cdef readonly object exit
    cdef readonly object lapic
    cdef readonly str model
    cdef bint _is_running
    cdef bint _translates
    cdef unsigned int _patch_after
    cdef object _store          # what use_translations() was given
    cdef list _written          # ranges that other threads wrote while guest code ran
