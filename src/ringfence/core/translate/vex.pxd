# Instructions with a VEX prefix.
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.lowering cimport Lowering

cdef bint put_copy_vex(Builder* b, Lowering* low) noexcept nogil
