# Host memory for generated code, never writable and executable through one mapping.
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "<sys/mman.h>" nogil:
    enum: MAP_FAILED
    enum: MAP_FIXED
    enum: MAP_SHARED
    enum: PROT_EXEC
    enum: PROT_READ
    enum: PROT_WRITE
    int munmap(void* address, size_t size)
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)

ctypedef uint8_t* Bytes
ctypedef const uint8_t* Code

cdef struct CodeBuffer:
    Bytes writable              # the mapping that code is written through
    Bytes executable            # the same pages, where it runs
    uint32_t capacity_bytes
    uint32_t used_bytes

ctypedef CodeBuffer* CodeBufferP

cdef int open_code_buffer(CodeBuffer* buffer, uint32_t capacity_bytes) except -1
# Unmap it; nothing of it may be running.
cdef void close_code_buffer(CodeBuffer* buffer) noexcept
cdef int unshare_code_buffer(CodeBuffer* buffer) except -1
cdef uint32_t append_code(CodeBuffer* buffer, Code code, uint32_t size) noexcept nogil
