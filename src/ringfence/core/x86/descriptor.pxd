# Segment and gate descriptors as bits: Intel SDM vol. 3, 3.4.5 and 6.11; AMD APM vol. 2, 4.7 and 4.8.
#
#   high  31..24 base 31..24 | 23 G | 22 D/B | 21 L | 20 AVL | 19..16 limit 19..16
#         15 P | 14..13 DPL | 12 S | 11..8 type | 7..0 base 23..16
#   low   31..16 base 15..0 | 15..0 limit 15..0
#
# A gate keeps P, DPL, S and type where they are; its offset is high[31:16] | low[15:0], its
# selector low[31:16]; a call gate counts parameters in high[4:0], a 64-bit gate names its
# interrupt stack in high[2:0].
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.state cimport (
    ATTR_CODE, ATTR_DB, ATTR_DPL_SHIFT, ATTR_EXPAND_DOWN, ATTR_G, ATTR_L, ATTR_NULL, ATTR_P, ATTR_S, ATTR_WRITABLE,
    Cpu, EFER_LMA, MODE_CODE64, MODE_CODE_MASK, MODE_PROTECTED, MODE_V86)

cdef enum SystemType:
    TYPE_TSS16 = 1
    TYPE_LDT = 2
    TYPE_TSS16_BUSY = 3
    TYPE_CALL_GATE16 = 4
    TYPE_TASK_GATE = 5
    TYPE_INTERRUPT_GATE16 = 6
    TYPE_TRAP_GATE16 = 7
    TYPE_TSS32 = 9              # in long mode: the 64-bit TSS
    TYPE_TSS32_BUSY = 11
    TYPE_CALL_GATE32 = 12       # in long mode: the 64-bit gates
    TYPE_INTERRUPT_GATE32 = 14
    TYPE_TRAP_GATE32 = 15

cdef enum:
    ATTR_DATA_RW = 0x93         # present, writable, accessed data: what real mode works with
    ATTR_V86 = 0xF3             # the same with DPL 3
    TYPE_BUSY = 2
    LOW_32 = 0xFFFFFFFFu

cdef struct Descriptor:
    uint64_t base
    uint64_t address            # linear address of the descriptor itself
    uint32_t limit              # in bytes, granularity applied
    uint32_t attr               # as in state.Segment
    uint32_t low
    uint32_t high
    uint16_t selector

cdef inline void parse_descriptor(Descriptor* d, uint32_t low, uint32_t high) noexcept nogil:
    cdef uint32_t limit = (low & 0xFFFF) | (high & 0xF0000)
    d.low = low
    d.high = high
    d.base = (low >> 16) | ((high & 0xFF) << 16) | (high & 0xFF000000u)
    d.attr = (high >> 8) & 0xF0FF
    d.limit = (limit << 12) | 0xFFF if d.attr & ATTR_G else limit

cdef inline int type_of(uint32_t attr) noexcept nogil:
    return attr & 0xF

cdef inline int dpl_of(uint32_t attr) noexcept nogil:
    return (attr >> ATTR_DPL_SHIFT) & 3

cdef inline int rpl_of(uint32_t selector) noexcept nogil:
    return selector & 3

cdef inline bint is_null(uint32_t selector) noexcept nogil:
    return (selector & 0xFFFC) == 0

cdef inline bint is_present(uint32_t attr) noexcept nogil:
    return (attr & ATTR_P) != 0

cdef inline bint is_system(uint32_t attr) noexcept nogil:
    return (attr & ATTR_S) == 0

cdef inline bint is_code(uint32_t attr) noexcept nogil:
    return (attr & (ATTR_S | ATTR_CODE)) == (ATTR_S | ATTR_CODE)

cdef inline bint is_conforming(uint32_t attr) noexcept nogil:
    return (attr & ATTR_EXPAND_DOWN) != 0

cdef inline bint is_readable(uint32_t attr) noexcept nogil:
    """Data, or code that may be read."""
    return (attr & ATTR_S) != 0 and (attr & (ATTR_CODE | ATTR_WRITABLE)) != ATTR_CODE

cdef inline bint is_writable_data(uint32_t attr) noexcept nogil:
    return (attr & (ATTR_S | ATTR_CODE | ATTR_WRITABLE)) == (ATTR_S | ATTR_WRITABLE)

cdef inline uint32_t gate_selector(const Descriptor* d) noexcept nogil:
    return d.low >> 16

cdef inline uint64_t gate_offset(const Descriptor* d) noexcept nogil:
    return (d.low & 0xFFFF) | (d.high & 0xFFFF0000u)

cdef inline bint is_within(uint32_t attr, uint32_t limit, uint64_t offset, int size) noexcept nogil:
    """May `size` bytes at `offset` be used in a segment with this limit?"""
    cdef uint64_t last = offset + size - 1
    cdef uint64_t top
    if attr & ATTR_NULL:
        return False
    if (attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == ATTR_EXPAND_DOWN:
        top = 0xFFFFFFFFu if attr & ATTR_DB else 0xFFFF
        return offset > limit and last <= top
    return last <= limit

# -- what mode the processor is in --

cdef inline bint is_long(const Cpu* cpu) noexcept nogil:
    """IA-32e mode: 64-bit or compatibility."""
    return (cpu.a.msr.efer & EFER_LMA) != 0

cdef inline bint is_code64(const Cpu* cpu) noexcept nogil:
    return (cpu.mode & MODE_CODE_MASK) == MODE_CODE64

cdef inline bint is_protected(const Cpu* cpu) noexcept nogil:
    """Protected mode, long mode included, virtual-8086 mode not."""
    return (cpu.mode & MODE_PROTECTED) != 0

cdef inline bint is_v86(const Cpu* cpu) noexcept nogil:
    return (cpu.mode & MODE_V86) != 0

cdef inline bint is_canonical(uint64_t la) noexcept nogil:
    return <int64_t>(la << 16) >> 16 == <int64_t>la
