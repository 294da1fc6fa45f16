# What in a translation's code depends on where it lies, and on its RIP.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.translation cimport Translation, Translator
from ringfence.core.x86.state cimport Cpu

#  What a field holds, made from an address v that moves with RIP.
cdef enum RelocKind:
    RELOC_LEAVE = 0             # the way to a routine of the register map
    RELOC_CALLOUT = 1
    RELOC_ADDRESS = 2           # v
    RELOC_TAG = 3               # what the jump cache's tag is made of
    RELOC_JUMP_TAG = 4          # address of v's entry in the jump cache
    RELOC_JUMP_HOST = 5
    RELOC_PAGE = 6              # v's page
    RELOC_READ_TAG = 7          # address of v's entry in the TLB
    RELOC_READ_PAGE = 8
    RELOC_WRITE_TAG = 9
    RELOC_WRITE_PAGE = 10

#  How: another value has to fit the same field.
cdef enum RelocWidth:
    WIDTH_UNSIGNED = 0          # 32 bits
    WIDTH_SIGNED = 1
    WIDTH_64 = 2
    WIDTH_LOW = 3               # the low 32 bits of anything

cdef inline bint is_low_or_high(uint64_t rip) noexcept nogil:
    """Canonical with 48 bits of address."""
    return <uint64_t>((<int64_t>rip >> 47) + 1) <= 1

# The value for v that a field of this kind holds.
cdef uint64_t value_of(Cpu* cpu, int kind, uint64_t v) noexcept nogil
# The field just emitted holds value_of(v).
cdef void note_reloc(Builder* b, int kind, int width, uint64_t v) noexcept nogil
# The jump just emitted goes to a routine.
cdef void note_routine(Builder* b, int kind) noexcept nogil
# put_constant() of value_of(v).
cdef void put_moving_constant(Builder* b, int reg, int kind, uint64_t v) noexcept nogil
# Make the code of `out` at `code` right for its place, its RIP and this vCPU. False: a value does not fit.
cdef bint relocate(Cpu* cpu, Translator* t, Translation* out, uint8_t* code, uint64_t old_data, uint64_t old_cpu) noexcept nogil
