# Loops of hot code whose turns are counted beforehand.
from libc.stdint cimport uint8_t, uint64_t
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.translation cimport Exit

cdef enum:
    LOOP_INSTRUCTIONS = 2048    # that are paid for at once, at most
    STRIDE_BITS = 24            # of the fraction by which offsets are divided

# Before emission, after the register map was chosen: see whether the block is such a loop.
cdef void plan_loop(Builder* b) noexcept nogil
# An exit to `target` after b.i, from where the loop may be entered.
cdef Exit* back_exit(Builder* b, uint64_t target) noexcept nogil
# After the block: the way into the loop. The block's instructions follow once more, then put_undo().
cdef uint8_t* put_way_in(Builder* b) noexcept nogil
cdef void put_undo(Builder* b, uint8_t* undo) noexcept nogil
# The loop's branch to its head, and behind it.
cdef void put_turn(Builder* b) noexcept nogil
cdef void end_counted_loop(Builder* b) noexcept nogil
# Before another way out of the loop.
cdef void put_refund(Builder* b) noexcept nogil
