# The inline TLB probe.
from libc.stdint cimport uint64_t
from ringfence.core.translate.builder cimport Builder
from ringfence.core.translate.encode cimport Operand
from ringfence.core.translate.translation cimport Site

# Whether put_probe() can do the memory operand of b.i.
cdef bint can_probe(Builder* b) noexcept nogil
# Host operand of b.i's memory operand, `size` bytes. May use s0 and s1: the operand's own registers.
cdef Operand put_probe(Builder* b, int size, int is_write, int is_aligned) noexcept nogil
# The same for base + disp, as the stack instructions need it.
cdef Operand put_probe_at(Builder* b, int base, int disp, int size, int is_write) noexcept nogil
# An access to the address that the instruction holds as its immediate.
cdef Operand put_probe_offset(Builder* b, uint64_t la, int size, int is_write) noexcept nogil
# The pieces of a probe: s1 = the byte offset of the TLB entry for the address in s0, which becomes its offset in the page;
cdef void put_lookup(Builder* b, int size, int is_write, int alignment, Site* site) noexcept nogil
# ... and `to` = the entry's addend, or the host address of its page.
cdef void put_entry_field(Builder* b, int to, int is_write, bint is_addend) noexcept nogil
