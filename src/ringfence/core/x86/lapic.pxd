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

cdef enum Register:
    APIC_ID = 0x02              # index: offset in the page >> 4, MSR - 0x800
    APIC_VERSION = 0x03
    APIC_TPR = 0x08
    APIC_PPR = 0x0A
    APIC_EOI = 0x0B
    APIC_LDR = 0x0D
    APIC_DFR = 0x0E
    APIC_SVR = 0x0F
    APIC_ISR = 0x10
    APIC_TMR = 0x18
    APIC_IRR = 0x20
    APIC_ESR = 0x28
    APIC_ICR = 0x30
    APIC_ICR2 = 0x31
    APIC_LVT = 0x32
    APIC_INITIAL_COUNT = 0x38
    APIC_CURRENT_COUNT = 0x39
    APIC_DIVIDE = 0x3E
    APIC_SELF_IPI = 0x3F

cdef enum Field:
    SVR_ENABLE = 1 << 8
    LVT_MASKED = 1 << 16
    LVT_LEVEL = 1 << 15
    ICR_LOGICAL = 1 << 11
    ICR_BUSY = 1 << 12
    ICR_ASSERT = 1 << 14
    ICR_LEVEL = 1 << 15
    LVT_VALID_TIMER = 0x700FF
    LVT_VALID_ERROR = 0x100FF
    LVT_VALID_LINT = 0x1A7FF
    LVT_VALID_OTHER = 0x107FF
    SVR_VALID = 0x3FF
    X2APIC_ICR_RESERVED = 0xFFF32000u
    ESR_SEND_VECTOR = 1 << 5
    ESR_RECEIVE_VECTOR = 1 << 6
    ESR_REGISTER = 1 << 7

cdef enum:
    APIC_VERSION_VALUE = 0x50014        # integrated, six LVT entries
    MSR_APIC_BASE = 0x1B
    MSR_TSC_DEADLINE = 0x6E0
    MSR_X2APIC = 0x800
    BROADCAST = 0xFFFFFFFFu
    LOW_32 = 0xFFFFFFFFu
    HIGH_8 = 0xFF000000u
    SHORTHAND_SELF = 1
    SHORTHAND_ALL = 2
    SHORTHAND_OTHERS = 3

cdef enum:
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

ctypedef Lapic* LapicP

cdef inline int lapic_pending(const Lapic* apic) noexcept nogil:
    """The vector to interrupt with, or -1. Asked at every block: one load."""
    return apic.pending

cdef inline uint64_t lapic_deadline_ns(const Lapic* apic) noexcept nogil:
    """When lapic_run_timer must be called; 0 = no timer set."""
    return apic.timer_deadline_ns

cdef inline bint lapic_claims(const Lapic* apic, uint64_t gpa) noexcept nogil:
    """Is this address in the register page (xAPIC mode)?"""
    return (((gpa ^ apic.base_msr) >> 12) == 0
            and (apic.base_msr & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE)

cdef inline bint is_x2apic(const Lapic* apic) noexcept nogil:
    return apic.base_msr & APIC_BASE_X2APIC != 0

cdef inline uint32_t bit_of(uint32_t vector) noexcept nogil:
    """The bit of a vector in its word of IRR, ISR and TMR."""
    return <uint32_t>1 << (vector & 31)

cdef inline uint64_t lapic_get_cr8(const Lapic* apic) noexcept nogil:
    return apic.tpr >> 4

cdef void lapic_reset(Lapic* apic, uint32_t id) noexcept nogil
cdef uint32_t lapic_read(Lapic* apic, uint32_t offset, uint64_t now_ns) noexcept nogil
# True: apic.icr holds a command that other processors must see too.
cdef bint lapic_write(Lapic* apic, uint32_t offset, uint32_t value, uint64_t now_ns) noexcept nogil
# MSRs 0x1B, 0x6E0, 0x800..0x8FF. False: #GP.
cdef bint lapic_rdmsr(Lapic* apic, uint32_t msr, uint64_t* out, uint64_t now_ns) noexcept nogil
# 0 done; 1 #GP; 2 done, and apic.icr must be delivered to other processors.
cdef int lapic_wrmsr(Lapic* apic, uint32_t msr, uint64_t value, uint64_t now_ns) noexcept nogil
cdef void lapic_set_cr8(Lapic* apic, uint64_t value) noexcept nogil
cdef void lapic_set_tsc_offset(Lapic* apic, int64_t tsc_offset) noexcept nogil
cdef void lapic_run_timer(Lapic* apic, uint64_t now_ns) noexcept nogil
