# Room for code and records: regions that are filled in turn, and evicted as a whole.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.translate.translation cimport Translator
from ringfence.core.x86.state cimport Cpu

# Memory of the current region that ensure_room() has made sure of.
cdef void* take(Translator* t, uint32_t size) noexcept nogil
# Room for one more translation, in the next region if need be: only while no translated code runs.
cdef bint ensure_room(Cpu* cpu, Translator* t) noexcept nogil
# The translation ends at this code offset: what follows is free again.
cdef void release(Translator* t, uint32_t end) noexcept nogil
