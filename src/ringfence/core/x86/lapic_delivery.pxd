# Interrupts at a local APIC: arriving, being taken, ending; and whom a message is for.
from libc.stdint cimport uint32_t
from ringfence.core.x86.lapic cimport Lapic

# A message (IPI, I/O APIC, MSI) by its delivery mode; a fixed one; a change of LINT0 or LINT1.
cdef void lapic_deliver(Lapic* apic, uint32_t delivery_mode, uint32_t vector, bint is_level) noexcept nogil
cdef void lapic_accept(Lapic* apic, uint32_t vector, bint is_level) noexcept nogil
cdef void lapic_set_lint(Lapic* apic, int pin, bint level) noexcept nogil
# The vector that lapic_pending told is taken. Ended level vectors are left in apic.eoi_vector.
cdef int lapic_acknowledge(Lapic* apic) noexcept nogil
cdef void lapic_eoi(Lapic* apic) noexcept nogil
cdef bint lapic_matches(Lapic* apic, uint32_t destination, bint is_logical) noexcept nogil
cdef bint lapic_accepts_extint(Lapic* apic) noexcept nogil
cdef bint lapic_may_nmi(Lapic* apic) noexcept nogil
# For the registers: PPR and `pending` anew; an error; ICR's command (True: others must see it).
cdef void update(Lapic* apic) noexcept nogil
cdef void report(Lapic* apic, uint32_t error) noexcept nogil
cdef bint send(Lapic* apic) noexcept nogil
