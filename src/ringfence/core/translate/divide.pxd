# DIV and IDIV, guarded so that the host never traps.
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.lowering cimport Lowering

cdef bint put_divide(Builder* b, Lowering* low) noexcept nogil
