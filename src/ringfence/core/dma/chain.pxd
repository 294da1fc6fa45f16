# Pieces of guest RAM, and the request that they make up.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ringfence.core.memory.guest_memory cimport GuestMemory
from ringfence.core.memory.map cimport MemoryMap

cdef enum:
    # The most descriptors in one request. The host takes no longer I/O vector (IOV_MAX), and a guest can't
    # make us build a longer list.
    SEGMENTS_MAX = 1024
    # Most requests have no more, and take no allocation of their own.
    SEGMENTS_AT_HAND = 8

cdef struct Segment:
    uint64_t gpa
    uint64_t length
    uint8_t* host

ctypedef Segment* SegmentP
ctypedef uint8_t* Bytes

cdef struct Range:
    # what is left of it
    Segment* next
    Segment* end
    uint64_t skip
    uint64_t left_bytes
    # the piece of it that `advance` found
    uint64_t gpa
    uint8_t* host
    uint64_t size

ctypedef Range* RangeP

cdef uint8_t* ram_at(MemoryMap* map, uint64_t gpa, uint64_t length) noexcept nogil
cdef bint advance(Range* range) noexcept nogil

cdef class Chain:
    cdef GuestMemory _memory
    cdef readonly uint32_t head
    cdef readonly uint64_t readable_bytes
    cdef readonly uint64_t writable_bytes
    # those that the device reads come first
    cdef uint32_t _readable
    cdef uint32_t _count
    cdef uint32_t _room
    cdef Segment* _segments
    cdef Segment[8] _at_hand
    cdef bint add(self, uint64_t gpa, uint64_t length, uint8_t* host, bint is_writable) except? -1
    cdef Range _range(self, bint is_writable, object offset, object n)
    cdef list _views(self, Range range)
