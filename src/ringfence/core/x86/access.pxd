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
cdef bint phys_load(Cpu* cpu, uint64_t gpa, int size, uint64_t* value) noexcept nogil
cdef bint phys_store(Cpu* cpu, uint64_t gpa, int size, uint64_t value) noexcept nogil
cdef uint64_t io_read(Cpu* cpu, uint32_t port, int size) noexcept nogil
cdef void io_write(Cpu* cpu, uint32_t port, int size, uint64_t value) noexcept nogil
cdef uint64_t fetch_gpa(Cpu* cpu, uint64_t la) noexcept nogil
cdef void commit_accesses(Cpu* cpu) noexcept nogil

cdef inline uint8_t* probe_read(Cpu* cpu, uint64_t la, int size) noexcept nogil:
    """Host address of [la, la+size) for reading when the TLB knows it, else NULL."""
    cdef TlbEntry* entry = &cpu.tlb_read[(la >> 12) & (TLB_ENTRIES - 1)]
    if la - entry.tag <= <uint64_t>(PAGE_BYTES - size):
        return <uint8_t*>(la + entry.addend)
    return NULL

cdef inline uint8_t* probe_write(Cpu* cpu, uint64_t la, int size) noexcept nogil:
    cdef TlbEntry* entry = &cpu.tlb_write[(la >> 12) & (TLB_ENTRIES - 1)]
    if la - entry.tag <= <uint64_t>(PAGE_BYTES - size):
        return <uint8_t*>(la + entry.addend)
    return NULL

cdef inline uint64_t load(Cpu* cpu, uint64_t la, int size) noexcept nogil:
    """The unsigned value at linear address `la`; a fault leaves through cpu.escape."""
    cdef uint8_t* host = probe_read(cpu, la, size)
    if host == NULL:
        return load_slow(cpu, la, size)
    if size == 1:
        return host[0]
    if size == 2:
        return (<uint16_t*>host)[0]
    if size == 4:
        return (<uint32_t*>host)[0]
    return (<uint64_t*>host)[0]

cdef inline void store(Cpu* cpu, uint64_t la, uint64_t value, int size) noexcept nogil:
    cdef uint8_t* host = probe_write(cpu, la, size)
    if host == NULL:
        store_slow(cpu, la, value, size)
    elif size == 1:
        host[0] = <uint8_t>value
    elif size == 2:
        (<uint16_t*>host)[0] = <uint16_t>value
    elif size == 4:
        (<uint32_t*>host)[0] = <uint32_t>value
    else:
        (<uint64_t*>host)[0] = value
