# Call-outs and exits of a translation in the making.
from libc.stdint cimport uint64_t, uint8_t
from ringfence.core.translate.builder cimport Builder, Stub
from ringfence.core.translate.encode cimport Operand
from ringfence.core.translate.translation cimport Exit, Site

cdef Stub* new_stub(Builder* b, uint8_t* field) noexcept nogil
cdef void put_site_address(Builder* b, void* record) noexcept nogil
cdef Site* new_site(Builder* b, int kind) noexcept nogil
cdef Exit* new_exit(Builder* b, uint64_t rip, int charge) noexcept nogil
# `field` is a jump or branch to code that is emitted after the block.
cdef void later_site(Builder* b, uint8_t* field, Site* site) noexcept nogil
cdef void later_exit(Builder* b, uint8_t* field, Exit* exit, int saves_flags) noexcept nogil
# `field` comes from where the translation is left for the run loop, RIP already set.
cdef void later_leave(Builder* b, uint8_t* field, Site* site) noexcept nogil
# Call out here and now; the flags that are live must have been put by.
cdef void put_callout(Builder* b, Site* site) noexcept nogil
cdef void put_exit(Builder* b, Exit* exit) noexcept nogil
cdef void put_way_out(Builder* b, Exit* exit, bint is_shadowed) noexcept nogil
# To the translation whose canonical entry is at `host`: one after the other.
cdef void put_host_of_jump(Builder* b, Operand* host) noexcept nogil
cdef void put_jump_to_host(Builder* b) noexcept nogil
cdef void put_charge(Builder* b, int charge) noexcept nogil
# The instruction whose call-outs are the stubs from `first_stub` on is done here.
cdef void set_resume(Builder* b, int first_stub) noexcept nogil
cdef void put_stubs(Builder* b) noexcept nogil
