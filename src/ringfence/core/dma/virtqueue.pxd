# The three areas of a split virtqueue: VIRTIO 1.2, sections 2.7.5 to 2.7.8.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ringfence.core.dma.chain cimport Chain
from ringfence.core.memory.guest_memory cimport GuestMemory

cdef extern from *:
    """
    /* The guest writes these words at any time, from another thread. */
    static inline uint16_t shared_load(const void* at) { return __atomic_load_n((const uint16_t*)at, __ATOMIC_ACQUIRE); }
    static inline void shared_store(void* at, uint16_t value) { __atomic_store_n((uint16_t*)at, value, __ATOMIC_RELEASE); }
    /* Orders earlier stores before later loads, as seen by another vCPU's thread. */
    static inline void full_barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    uint16_t shared_load(const void* at) noexcept nogil
    void shared_store(void* at, uint16_t value) noexcept nogil
    void full_barrier() noexcept nogil

cdef enum:
    FLAG_NEXT = 1
    FLAG_WRITE = 2
    FLAG_INDIRECT = 4
    FLAG_NO_INTERRUPT = 1

cdef struct Descriptor:
    uint64_t gpa
    uint32_t length
    uint16_t flags
    uint16_t link

ctypedef Descriptor* DescriptorP

cdef struct UsedElement:
    uint32_t head
    uint32_t written_bytes

cdef class Virtqueue:
    cdef readonly GuestMemory memory
    cdef readonly int max_size
    cdef public object events
    cdef public uint32_t size
    cdef public bint is_enabled
    cdef public uint64_t descriptors_gpa
    cdef public uint64_t available_gpa
    cdef public uint64_t used_gpa
    # enabled, the driver is ready and nothing is wrong: chains may be taken
    cdef readonly bint is_running
    cdef public bint has_event_idx
    cdef public bint has_indirect
    # free-running: the next available entry to take, the next used one to fill, and that at the last interrupt decision
    cdef public uint16_t next_available
    cdef public uint16_t next_used
    cdef public uint16_t signalled
    # why the queue broke, how often, since the VM started
    cdef readonly object failures
    # the three areas, NULL while there are none
    cdef uint8_t* _descriptors
    cdef uint8_t* _available
    cdef uint8_t* _used
    cdef void _map(self)
    cdef void _used_dirtied(self)
    cdef uint16_t _waiting(self) noexcept
    cdef str _walk(self, Chain chain)
