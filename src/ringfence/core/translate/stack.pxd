# Stack instructions.
from libc.stdint cimport uint64_t
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.lowering cimport Lowering

cdef bint can_stack(Builder* b) noexcept nogil
cdef bint put_push_register(Builder* b, int reg) noexcept nogil
cdef bint put_push_address(Builder* b, uint64_t rip) noexcept nogil
cdef bint put_push_immediate(Builder* b, uint64_t value) noexcept nogil
cdef bint put_push_operand(Builder* b) noexcept nogil
cdef bint put_pop_register(Builder* b) noexcept nogil
cdef bint put_leave_frame(Builder* b) noexcept nogil
cdef void put_adjust_stack(Builder* b, int base, int amount) noexcept nogil
