# Guest memory by linear address: the inline TLB probe, and the calls behind a miss.
#
# SAFETY: the probes below are the only place where a guest address becomes a host pointer; an
# entry's addend is written by fill_tlb() alone, from a region of guest RAM.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from ringfence.core.x86.state cimport Access, Cpu, TlbEntry, TLB_ENTRIES, PAGE_BYTES

cdef uint64_t load_slow(Cpu* cpu, uint64_t la, int size) noexcept nogil
cdef void store_slow(Cpu* cpu, uint64_t la, uint64_t value, int size) noexcept nogil
cdef uint8_t* rmw_slow(Cpu* cpu, uint64_t la, int size) noexcept nogil
cdef uint64_t load_system(Cpu* cpu, uint64_t la, int size) noexcept nogil
cdef void store_system(Cpu* cpu, uint64_t la, uint64_t value, int size) noexcept nogil
cdef uint64_t load_as(Cpu* cpu, uint64_t la, int size, int view) noexcept nogil
cdef void store_as(Cpu* cpu, uint64_t la, uint64_t value, int size, int view) noexcept nogil
cdef void check_write(Cpu* cpu, uint64_t la, int size) noexcept nogil
cdef void check_read(Cpu* cpu, uint64_t la, int size) noexcept nogil
cdef void check_write_system(Cpu* cpu, uint64_t la, int size) noexcept nogil
cdef void load_bytes(Cpu* cpu, uint64_t la, uint8_t* to, int size) noexcept nogil
cdef void store_bytes(Cpu* cpu, uint64_t la, const uint8_t* data, int size) noexcept nogil
cdef uint8_t* probe(Cpu* cpu, uint64_t la, int is_write, uint64_t* room) noexcept nogil
cdef uint64_t fetch_gpa(Cpu* cpu, uint64_t la) noexcept nogil
cdef bint is_canonical(Cpu* cpu, uint64_t la) noexcept nogil
cdef uint64_t page_of(Cpu* cpu, uint64_t la, int access, int view) noexcept nogil

cdef extern from *:
    """
    #define ringfence_unlikely(condition) __builtin_expect(!!(condition), 0)
    """
    bint unlikely "ringfence_unlikely"(bint condition) noexcept nogil

cdef inline uint64_t peek_host(const uint8_t* host, int size) noexcept nogil:
    if size == 1:
        return host[0]
    if size == 2:
        return (<const uint16_t*>host)[0]
    if size == 4:
        return (<const uint32_t*>host)[0]
    return (<const uint64_t*>host)[0]

cdef inline void poke_host(uint8_t* host, uint64_t value, int size) noexcept nogil:
    if size == 1:
        host[0] = <uint8_t>value
    elif size == 2:
        (<uint16_t*>host)[0] = <uint16_t>value
    elif size == 4:
        (<uint32_t*>host)[0] = <uint32_t>value
    else:
        (<uint64_t*>host)[0] = value

cdef inline uint8_t* probe_read(Cpu* cpu, uint64_t la, int size) noexcept nogil:
    """Host address of [la, la+size) for reading when the TLB knows it, else NULL."""
    cdef TlbEntry* entry = &cpu.tlb_read[(la >> 12) & (TLB_ENTRIES - 1)]
    if la - entry.tag <= <uint64_t>(PAGE_BYTES - size):
        return <uint8_t*>(la + entry.addend)
    return NULL

cdef inline uint8_t* probe_write(Cpu* cpu, uint64_t la, int size) noexcept nogil:
    cdef TlbEntry* entry = &cpu.tlb_write[(la >> 12) & (TLB_ENTRIES - 1)]
    cpu.count.accesses += 1
    if la - entry.tag <= <uint64_t>(PAGE_BYTES - size):
        return <uint8_t*>(la + entry.addend)
    return NULL

cdef inline uint64_t load(Cpu* cpu, uint64_t la, int size) noexcept nogil:
    """The unsigned value at linear address `la`; a fault leaves through cpu.escape."""
    cdef TlbEntry* entry = &cpu.tlb_read[(la >> 12) & (TLB_ENTRIES - 1)]
    cpu.count.accesses += 1
    if unlikely(la - entry.tag > <uint64_t>(PAGE_BYTES - size)):
        return load_slow(cpu, la, size)
    return peek_host(<const uint8_t*>(la + entry.addend), size)

cdef inline void store(Cpu* cpu, uint64_t la, uint64_t value, int size) noexcept nogil:
    cdef TlbEntry* entry = &cpu.tlb_write[(la >> 12) & (TLB_ENTRIES - 1)]
    cpu.count.accesses += 1
    if unlikely(la - entry.tag > <uint64_t>(PAGE_BYTES - size)):
        store_slow(cpu, la, value, size)
    else:
        poke_host(<uint8_t*>(la + entry.addend), value, size)

# -- read-modify-write: the operand in place, or a bounce buffer where that can't be --

cdef void rmw_finish(Cpu* cpu, uint64_t la, int size) noexcept nogil

cdef extern from *:
    """
    #define RINGFENCE_CAS(T) __sync_bool_compare_and_swap((T *)at, (T)old, (T)value)
    static inline int ringfence_cas(void *at, unsigned long long old, unsigned long long value, int size) {
        return size == 1 ? RINGFENCE_CAS(unsigned char) : size == 2 ? RINGFENCE_CAS(unsigned short)
             : size == 4 ? RINGFENCE_CAS(unsigned int) : RINGFENCE_CAS(unsigned long long);
    }
    """
    bint cas "ringfence_cas"(void* at, uint64_t old, uint64_t value, int size) noexcept nogil

cdef inline uint8_t* bounce(Cpu* cpu) noexcept nogil:
    """Where rmw_slow() puts an operand that is not plain RAM within a page."""
    return cpu.bounce
