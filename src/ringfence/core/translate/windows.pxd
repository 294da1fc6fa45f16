# Pages that a probe has found and that later accesses use again.
from libc.stdint cimport int64_t
from ringfence.core.translate.builder cimport Access, Builder, Window
from ringfence.core.translate.encode cimport Operand

# The window that covers the access of b.i, or NULL.
cdef Window* find_window(Builder* b, Access* access) noexcept nogil
# The operand of an access that a window covers.
cdef Operand window_operand(Builder* b, Window* window, Access* access) noexcept nogil
# Plan a window for the access that is about to be probed, NULL if no later one would use it.
cdef Window* plan_window(Builder* b, Access* access) noexcept nogil
# After b.i: what it has changed.
cdef void follow(Builder* b) noexcept nogil
cdef void close_windows(Builder* b) noexcept nogil
# How far a turn of the block's loop moves the window's address; a page or more where that is not known.
cdef int64_t stride_of(Builder* b, Window* window) noexcept nogil
cdef bint has_open_window(Builder* b) noexcept nogil
