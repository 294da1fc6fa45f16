# Instructions that only read or exchange registers of the context. False: interpret it instead.
from ringfence.core.translate.builder cimport Builder

cdef bint put_swap_base(Builder* b) noexcept nogil
cdef bint put_read_selector(Builder* b) noexcept nogil
cdef bint put_read_control(Builder* b) noexcept nogil
