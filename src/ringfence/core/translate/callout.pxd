# What translated code calls out for.
from libc.stdint cimport uint64_t
from ringfence.core.translate.translation cimport Translator
from ringfence.core.x86.state cimport Cpu

# Called by translated code: the address of the routine to go on with.
cdef uint64_t callout(Cpu* cpu) noexcept nogil
# The guest's flags between their two forms.
cdef void import_flags(Cpu* cpu) noexcept nogil
cdef void export_flags(Cpu* cpu) noexcept nogil
# Bring what translated code has done into cpu.budget; True if one of its counters had run out.
cdef bint settle_budgets(Cpu* cpu) noexcept nogil
# Each of the four counters gets its share.
cdef void refill_budgets(Cpu* cpu) noexcept nogil
