# Probes of hot code: a slot of their own before the TLB.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from ringfence.core.translate.builder cimport Access, Builder, Stub
from ringfence.core.translate.translation cimport Site, Translator
from ringfence.core.x86.state cimport Cpu

cdef enum:
    SLOT_CREDIT = 64            # misses until the first look at how often a slot misses
    SLOT_CREDIT_LIMIT = 4096    # ... and at most between two looks
    SLOT_INSTRUCTIONS = 64      # guest instructions a miss that make a slot worth while

# s1 or `holder` = what the operand needs of the entry for the address in s0.
cdef void put_slot_lookup(
    Builder* b, Access* access, int64_t low, int size, int holder, Site* site) noexcept nogil
cdef void put_slot_stub(Builder* b, Stub* stub) noexcept nogil
# A SITE_SLOT call-out: empty the list, or see whether the slot is of use.
cdef void judge_slot(Cpu* cpu, Translator* t, Site* site) noexcept nogil
