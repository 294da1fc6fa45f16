# Branches within the code segment.
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.lowering cimport Lowering

# Each returns False, nothing emitted, where the instruction has to be interpreted.
cdef bint put_branch(Builder* b, Lowering* low) noexcept nogil
cdef bint put_direct_jump(Builder* b) noexcept nogil
cdef bint put_call(Builder* b) noexcept nogil
cdef bint put_return_near(Builder* b) noexcept nogil
cdef bint put_jump_operand(Builder* b) noexcept nogil
cdef bint put_call_operand(Builder* b) noexcept nogil
cdef void put_fall_through(Builder* b) noexcept nogil
# The same after an instruction with an interrupt shadow; the flags have been put by.
cdef void put_shadowed_fall_through(Builder* b) noexcept nogil
