# Guest-physical memory as engines see it: a few regions, and a byte of flags for each RAM page.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    REGION_LIMIT = 16
    PAGE_HAS_CODE = 1           # decoded blocks lie on it: writes take the slow path
    PAGE_DIRTY = 2

cdef struct Region:
    uint64_t gpa
    uint64_t size
    uint8_t* host
    uint8_t* flags              # one byte a page, PAGE_*
    uint32_t is_rom
    uint32_t pad

cdef struct MemoryMap:
    uint32_t count
    uint32_t pad
    Region regions[16]

ctypedef Region* RegionP

cdef inline Region* find_region(MemoryMap* map, uint64_t gpa) noexcept nogil:
    """The region that holds the byte at `gpa`, or NULL."""
    cdef uint32_t i
    for i in range(map.count):
        if gpa - map.regions[i].gpa < map.regions[i].size:
            return &map.regions[i]
    return NULL
