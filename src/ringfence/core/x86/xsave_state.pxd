# The state components that XSAVE manages: which there are, where they lie, which are in use.
from libc.stdint cimport uint8_t, uint64_t
from ringfence.core.x86.state cimport Cpu

cdef enum Xcr0:
    XCR0_X87 = 1 << 0
    XCR0_SSE = 1 << 1
    XCR0_AVX = 1 << 2
    XCR0_OPMASK = 1 << 5
    XCR0_AVX512 = 7 << 5            # opmask, ZMM_Hi256, Hi16_ZMM: only together

cdef enum:
    COMPONENTS = 8                  # 0 to 7; 3 and 4 (MPX) don't exist
    FIRST_EXTENDED = 2
    LEGACY_BYTES = 576              # legacy region and header
    COMPACTED = 0x8000000000000000ULL

#  A component above the legacy region, by its number in XCR0.
cdef struct Component:
    uint64_t bytes                  # 0: there is none of this number
    uint64_t offset                 # in the standard form: as Intel processors have it
    uint64_t state                  # in cpu.a, from cpu.a.fx

cdef const Component* component(int number) noexcept nogil
cdef uint8_t* component_state(Cpu* cpu, int number) noexcept nogil
# How much of a component the current mode reaches: only 64-bit code has registers 8 to 31.
cdef int component_bytes(Cpu* cpu, int number) noexcept nogil
cdef int xmm_bytes(Cpu* cpu) noexcept nogil
# Bytes of an area with these components.
cdef uint64_t standard_bytes(uint64_t components) noexcept nogil
cdef uint64_t compacted_bytes(uint64_t components) noexcept nogil
# The bits of XCR0 that the model has.
cdef uint64_t xcr0_mask(const Cpu* cpu) noexcept nogil
cdef bint is_valid_xcr0(const Cpu* cpu, uint64_t value) noexcept nogil
cdef bint is_zero(const uint8_t* data, int size) noexcept nogil
cdef uint64_t in_use(Cpu* cpu) noexcept nogil
cdef uint64_t in_use_with_mxcsr(Cpu* cpu) noexcept nogil
