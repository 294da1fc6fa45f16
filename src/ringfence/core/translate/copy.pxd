# Instructions that run on the host as they are, operands put in place.
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.lowering cimport Lowering

# Each returns False, nothing emitted, where the instruction has to be interpreted.
cdef bint put_copy(Builder* b, Lowering* low) noexcept nogil
cdef bint put_raw(Builder* b, Lowering* low) noexcept nogil
cdef bint put_low_register(Builder* b, Lowering* low) noexcept nogil
cdef bint put_lea_copy(Builder* b) noexcept nogil
cdef bint put_offset_move(Builder* b, Lowering* low) noexcept nogil
# The flags that the instruction reads or leaves alone must be in the host's; and after it.
cdef void prepare_flags(Builder* b, Lowering* low) noexcept nogil
cdef void finish_flags(Builder* b, Lowering* low) noexcept nogil
