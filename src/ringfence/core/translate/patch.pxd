# Binary patching of translated code.
from ringfence.core.translate.translation cimport Site, Translator
from ringfence.core.x86.state cimport Cpu

# Replace a call-out with the quick case of its instruction, where that has one. Called from the call-out.
cdef void patch_callout(Cpu* cpu, Translator* t, Site* site) noexcept nogil
