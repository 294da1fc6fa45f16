# One vCPU's translator, from Python's side.
from ringfence.core.x86.state cimport Cpu

cdef int new_translator(Cpu* cpu) except -1
cdef void free_translator(Cpu* cpu) noexcept
cdef dict translator_counters(Cpu* cpu)
cdef dict row_counters(Cpu* cpu)
cdef void set_patch_after(Cpu* cpu, unsigned int count) noexcept
cdef void tune_translator(Cpu* cpu, int threshold, bint has_exact_flags, int instructions) noexcept
# What stored translations depend on: the processor that the model and this host make.
cdef bytes translation_key(Cpu* cpu)
