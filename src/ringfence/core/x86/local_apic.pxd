# The Python view of a vCPU's local APIC.
from ringfence.core.x86.lapic cimport Lapic

cdef class LocalApic:
    cdef Lapic own              # used when no vCPU lends its own
    cdef Lapic* apic
    cdef object owner           # keeps alive whoever holds *apic

cdef LocalApic wrap_lapic(Lapic* apic, object owner)
