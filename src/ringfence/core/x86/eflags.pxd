# Instructions on the system flags: CLI STI PUSHF POPF CLAC STAC.
from ringfence.core.x86.state cimport Cpu, Instr

cdef enum:
    FLAGS_WRITABLE = 0x244DD5   # what POPF may change: ID AC NT DF OF TF and arithmetic; IF, IOPL apart

cdef void cli(Cpu* cpu, Instr* i) noexcept nogil
cdef void sti(Cpu* cpu, Instr* i) noexcept nogil
cdef void pushf(Cpu* cpu, Instr* i) noexcept nogil
cdef void popf(Cpu* cpu, Instr* i) noexcept nogil
cdef void clac(Cpu* cpu, Instr* i) noexcept nogil
cdef void stac(Cpu* cpu, Instr* i) noexcept nogil
# Put `image` into the flags, those in `mask`, and follow what depends on them.
cdef void write_flags(Cpu* cpu, unsigned long long image, unsigned long long mask) noexcept nogil
