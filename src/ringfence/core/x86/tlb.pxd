# The software TLB: four views (mode.py), reads apart from writes.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from ringfence.core.x86.state cimport FILL_LIMIT, Cpu, Slot, TlbEntry

cdef void flush_tlb(Cpu* cpu, bint keep_global) noexcept nogil
cdef void flush_page(Cpu* cpu, uint64_t la) noexcept nogil
cdef void drop_writes(Cpu* cpu, uint64_t gpa) noexcept nogil
cdef void new_generation(Cpu* cpu) noexcept nogil
cdef void empty_host_jumps(Cpu* cpu) noexcept nogil
cdef void empty_slots(Cpu* cpu) noexcept nogil

cdef inline void note_fill(Cpu* cpu, TlbEntry* entry, int is_global) noexcept nogil:
    """An entry was filled: the next flush must find it."""
    cdef uint32_t count = cpu.fill_count[is_global]
    if count < FILL_LIMIT:
        cpu.fills[is_global][count] = <uint16_t>(entry - &cpu.tlb[0][0][0])
        cpu.fill_count[is_global] = count + 1
    else:
        # too many: the whole TLB
        cpu.fill_count[is_global] = FILL_LIMIT + 1

cdef inline void note_large(Cpu* cpu, uint64_t la) noexcept nogil:
    cpu.large_regions[(la >> 36) & 15] |= <uint64_t>1 << ((la >> 30) & 63)

cdef inline void note_code(Cpu* cpu, uint64_t la) noexcept nogil:
    """Code was fetched from this page: a change of its mapping starts a new generation."""
    cpu.code_pages[(la >> 18) & 63] |= <uint64_t>1 << ((la >> 12) & 63)

cdef inline uint64_t jump_tag_of(Cpu* cpu, uint64_t rip) noexcept nogil:
    return rip << 16 ^ cpu.jump_key

cdef inline void empty_slot(Cpu* cpu, Slot* slot) noexcept nogil:
    """An empty slot's tag can match, as a TLB entry's can't: the address is not canonical, and leads nowhere."""
    slot.tag = <uint64_t>1 << 63
    slot.host_page = (<uint64_t>cpu.nowhere + 63) & ~<uint64_t>63
    slot.addend = slot.host_page - slot.tag
    slot.is_listed = 0
