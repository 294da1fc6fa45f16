# Which guest registers live in memory, and the way between two such choices.
from ringfence.core.translate.builder cimport Builder

cdef enum:
    GAIN = 3                    # accesses that another map than the canonical must save

# Between the translation's own register map and the canonical one; no flag changes.
cdef void put_to_canonical(Builder* b) noexcept nogil
cdef void put_from_canonical(Builder* b) noexcept nogil
# Choose the map of a translation by what its instructions use.
cdef int choose_map(Builder* b) noexcept nogil
cdef bint is_turn(Builder* b) noexcept nogil
cdef void use_map(Builder* b, int map) noexcept nogil
