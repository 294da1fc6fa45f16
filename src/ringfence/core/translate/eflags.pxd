# CLI, STI, PUSHF and POPF. False: interpret it instead.
from ringfence.core.translate.builder cimport Builder

cdef bint put_disable_interrupts(Builder* b) noexcept nogil
cdef bint put_enable_interrupts(Builder* b) noexcept nogil
cdef bint put_push_flags(Builder* b) noexcept nogil
cdef bint put_pop_flags(Builder* b) noexcept nogil
# Whether a translation may be of ring 0.
cdef bint is_supervisor(Builder* b) noexcept nogil
