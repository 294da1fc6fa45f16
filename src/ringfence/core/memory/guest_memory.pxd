from ringfence.core.memory.map cimport MemoryMap

cdef class GuestMemory:
    cdef MemoryMap map
    cdef list _mappings
    cdef list _watchers
