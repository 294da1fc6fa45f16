# The local APIC's state and its C interface: Intel SDM vol. 3, chapter 11 (APIC).
#
# Plain data, embedded in the vCPU's architectural state and copied with it. Times are guest
# nanoseconds; the TSC and the APIC timer's input clock both run at 1 GHz.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum ApicBase:
    APIC_BASE_BSP = 1 << 8
    APIC_BASE_X2APIC = 1 << 10
    APIC_BASE_ENABLE = 1 << 11
    APIC_BASE_DEFAULT = 0xFEE00000u

cdef enum DeliveryMode:
    DELIVER_FIXED = 0
    DELIVER_LOWEST = 1
    DELIVER_SMI = 2
    DELIVER_NMI = 4
    DELIVER_INIT = 5
    DELIVER_SIPI = 6
    DELIVER_EXTINT = 7

cdef enum Lvt:
    LVT_TIMER = 0
    LVT_THERMAL = 1
    LVT_PERF = 2
    LVT_LINT0 = 3
    LVT_LINT1 = 4
    LVT_ERROR = 5
    LVT_COUNT = 6

cdef struct Lapic:
    uint64_t base_msr           # IA32_APIC_BASE
    int64_t tsc_offset          # TSC = guest ns + this; change it with lapic_set_tsc_offset
    uint64_t tsc_deadline       # IA32_TSC_DEADLINE; 0 = disarmed
    uint64_t timer_start_ns     # when the current count was the initial count
    uint64_t timer_deadline_ns  # when the timer fires; 0 = never
    uint64_t icr
    uint32_t id
    uint32_t physical_bits      # MAXPHYADDR, for the reserved bits of IA32_APIC_BASE
    uint32_t tpr
    uint32_t ppr
    uint32_t ldr
    uint32_t dfr
    uint32_t svr
    uint32_t esr                # what software reads: latched by a write
    uint32_t errors             # gathered since that write
    uint32_t divide             # DCR
    uint32_t initial_count
    uint32_t lvt[LVT_COUNT]
    uint32_t irr[8]
    uint32_t isr[8]
    uint32_t tmr[8]
    int32_t pending             # cached: the vector that beats PPR, or -1
    int32_t eoi_vector          # level-triggered vector ended and not yet told to the I/O APIC, or -1
    uint32_t nmi_pending
    uint32_t init_pending
    uint32_t sipi_pending
    uint32_t sipi_vector
    uint32_t lint_levels        # inputs LINT0 (bit 0) and LINT1 (bit 1)
    uint32_t is_timer_running   # one-shot and periodic: counting, not stopped at 0

cdef inline int lapic_pending(const Lapic* l) noexcept nogil:
    """The vector to interrupt with, or -1. Asked at every block: one load."""
    return l.pending

cdef inline uint64_t lapic_deadline_ns(const Lapic* l) noexcept nogil:
    """When lapic_run_timer must be called; 0 = no timer set."""
    return l.timer_deadline_ns

cdef inline bint lapic_claims(const Lapic* l, uint64_t gpa) noexcept nogil:
    """Is this address in the register page (xAPIC mode)?"""
    return ((gpa ^ l.base_msr) >> 12) == 0 and (l.base_msr & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE

cdef inline uint64_t lapic_get_cr8(const Lapic* l) noexcept nogil:
    return l.tpr >> 4

cdef void lapic_reset(Lapic* l, uint32_t id) noexcept nogil
cdef uint32_t lapic_read(Lapic* l, uint32_t offset, uint64_t now_ns) noexcept nogil
# True: l.icr holds a command that other processors must see too.
cdef bint lapic_write(Lapic* l, uint32_t offset, uint32_t value, uint64_t now_ns) noexcept nogil
# MSRs 0x1B, 0x6E0, 0x800..0x8FF. False: #GP.
cdef bint lapic_rdmsr(Lapic* l, uint32_t msr, uint64_t* out, uint64_t now_ns) noexcept nogil
# 0 done; 1 #GP; 2 done, and l.icr must be delivered to other processors.
cdef int lapic_wrmsr(Lapic* l, uint32_t msr, uint64_t value, uint64_t now_ns) noexcept nogil
cdef void lapic_set_cr8(Lapic* l, uint64_t value) noexcept nogil
cdef void lapic_set_tsc_offset(Lapic* l, int64_t tsc_offset) noexcept nogil
cdef int lapic_acknowledge(Lapic* l) noexcept nogil
cdef void lapic_accept(Lapic* l, uint32_t vector, bint is_level) noexcept nogil
cdef void lapic_deliver(Lapic* l, uint32_t delivery_mode, uint32_t vector, bint is_level) noexcept nogil
cdef void lapic_eoi(Lapic* l) noexcept nogil
cdef void lapic_run_timer(Lapic* l, uint64_t now_ns) noexcept nogil
cdef bint lapic_matches(const Lapic* l, uint32_t destination, bint is_logical) noexcept nogil
cdef bint lapic_accepts_extint(const Lapic* l) noexcept nogil
cdef void lapic_set_lint(Lapic* l, int pin, bint level) noexcept nogil

cdef class LocalApic:
    cdef Lapic* l
    cdef object owner           # keeps alive whoever owns *l; None when this object does
    @staticmethod
    cdef LocalApic wrap(Lapic* l, object owner)
