# Privileged and sensitive instructions that have a quick case as host code.
from ringfence.core.translate.builder cimport Builder

# Whether instructions of this kind may have one.
cdef bint is_sensitive(int kind) noexcept nogil
# False, nothing emitted: this one has to be interpreted.
cdef bint put_sensitive(Builder* b, int kind) noexcept nogil
