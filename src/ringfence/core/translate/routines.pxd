# The code that every translation shares.
from libc.stdint cimport uint64_t
from ringfence.core.translate.translation cimport Translator
from ringfence.core.x86.state cimport Cpu

ctypedef uint64_t (*Callout)(Cpu*) noexcept nogil
ctypedef void (*Enter)(Cpu*) noexcept nogil

# `function` is called where translated code calls out; it returns the address of a routine.
cdef void put_routines(Cpu* cpu, Translator* t, Callout function) noexcept nogil
# The routines of one register map, made when first needed.
cdef void ensure_map(Cpu* cpu, Translator* t, int map) noexcept nogil
# Run translated code at `host` (canonical map) until it leaves.
cdef void enter_translated(Cpu* cpu, Translator* t, uint64_t host) noexcept nogil
# The rest of the guest's vector state, which the host's registers still have, if a call-out has not saved it all.
cdef void save_vector(Cpu* cpu, Translator* t) noexcept nogil
# Give C its floating-point environment back after a long jump out of a call-out.
cdef void reset_vector(Cpu* cpu, Translator* t) noexcept nogil
