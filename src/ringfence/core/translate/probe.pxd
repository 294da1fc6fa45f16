# The inline TLB probe.
from libc.stdint cimport int64_t, uint64_t
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.encode cimport Operand
from ringfence.core.translate.translation cimport Site

# Whether put_probe() can do the memory operand of b.i.
cdef bint can_probe(Builder* b) noexcept nogil
# Host operand of b.i's memory operand, `size` bytes. May use s0 and s1: the operand's own registers.
cdef Operand put_probe(Builder* b, int size, int is_write, int is_aligned) noexcept nogil
# The same for base + disp, as the stack instructions need it.
cdef Operand put_probe_at(Builder* b, int base, int disp, int size, int is_write) noexcept nogil
# The probe proper, of the linear address in s0.
cdef Operand put_probe_linear(
    Builder* b, int base, int64_t disp, int size, int is_write, int is_aligned, Site* site) noexcept nogil
cdef Operand put_probe_offset(Builder* b, uint64_t la, int size, int is_write) noexcept nogil
