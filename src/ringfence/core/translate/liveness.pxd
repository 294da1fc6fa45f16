# Which flags something will still read.
from ringfence.core.translate.builder cimport Builder

cdef enum:
    LOOK_AHEAD = 12             # instructions
    LOOK_DEPTH = 2              # branches on the way

# Fill kills, live_in, live_out, live_taken of every instruction.
cdef void compute_liveness(Builder* b) noexcept nogil
