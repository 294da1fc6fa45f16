# Far transfers of control.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.descriptor cimport Descriptor
from ringfence.core.x86.stack cimport Stack
from ringfence.core.x86.state cimport Cpu, Instr

cdef void jmp_far_direct(Cpu* cpu, Instr* i) noexcept nogil
cdef void call_far_direct(Cpu* cpu, Instr* i) noexcept nogil
cdef void jmp_far_indirect(Cpu* cpu, Instr* i) noexcept nogil
cdef void call_far_indirect(Cpu* cpu, Instr* i) noexcept nogil

# -- shared with call_gate.py and far_return.py --
# Is `d` code that may run at the privilege level `cpl` with the requestor's `rpl`? #GP, #NP.
cdef void check_code_segment(Cpu* cpu, const Descriptor* d, int cpl, int rpl) noexcept nogil
# #GP(0) when `rip` lies outside the code segment.
cdef void check_rip(Cpu* cpu, const Descriptor* d, uint64_t rip) noexcept nogil
cdef void commit_code(Cpu* cpu, const Descriptor* d, int cpl, uint64_t rip) noexcept nogil
