# Translations by guest address, and the jumps between them.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.translate.translation cimport Exit, Translation, Translator
from ringfence.core.x86.state cimport Cpu, mode_bits

# The translation at this address; may fault where its code goes on in the next page.
cdef Translation* find_translation(Cpu* cpu, Translator* t, uint64_t gpa, uint64_t rip) noexcept nogil
cdef void insert_translation(Cpu* cpu, Translator* t, Translation* translation) noexcept nogil
# Forget a translation; its memory stays until its region is emptied.
cdef void drop_translation(Cpu* cpu, Translator* t, Translation* translation) noexcept nogil
# The translation last made of the code at `gpa`, at whatever RIP; or of other code, or NULL.
cdef Translation* model_of(Cpu* cpu, Translator* t, uint64_t gpa) noexcept nogil
# Make the jump whose rel32 is at code offset `field` go to code offset `target`.
cdef void point(Translator* t, uint32_t field, uint32_t target) noexcept nogil
# From now on `exit` goes straight to `target`.
cdef void link_exit(Translator* t, Exit* exit, Translation* target) noexcept nogil
# A CodeHook: drop what depends on [gpa, gpa+size).
cdef bint translated_written(Cpu* cpu, uint64_t gpa, uint64_t size) noexcept nogil

cdef inline uint32_t context_of(Cpu* cpu) noexcept nogil:
    return mode_bits(cpu)
