# The local APIC's timer. What it counts is worked out from the time; it delivers nothing itself.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.lapic cimport Lapic

cdef enum:
    LVT_PERIODIC = 1 << 17
    LVT_TSC_DEADLINE = 1 << 18
    MIN_PERIOD_NS = 50000       # as devices.clock: a guest may ask for 1 ns

cdef uint32_t timer_count(Lapic* apic, uint64_t now_ns) noexcept nogil
# True: it has fired, once however many periods have passed. Call it before the setters.
cdef bint timer_expire(Lapic* apic, uint64_t now_ns) noexcept nogil
cdef void timer_arm(Lapic* apic, uint64_t now_ns) noexcept nogil
cdef void timer_set_lvt(Lapic* apic, uint32_t value, uint64_t now_ns) noexcept nogil
cdef void timer_set_count(Lapic* apic, uint32_t value, uint64_t now_ns) noexcept nogil
cdef void timer_set_divide(Lapic* apic, uint32_t value, uint64_t now_ns) noexcept nogil
cdef void timer_set_tsc_deadline(Lapic* apic, uint64_t value) noexcept nogil
