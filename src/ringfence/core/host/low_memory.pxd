# Host memory below 2 GiB, where translated code reaches it by absolute 32-bit addresses.
from libc.stdint cimport uint64_t

cdef void* try_map_low(size_t size) noexcept nogil
cdef uint64_t map_low(size_t size) except 0
cdef void unmap_low(void* at, size_t size) noexcept

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* at, size_t size, int protection, int flags, int fd, long offset)
    int munmap(void* at, size_t size)
    int PROT_READ
    int PROT_WRITE
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MAP_32BIT
    void* MAP_FAILED
