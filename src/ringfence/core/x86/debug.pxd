# Debug registers, breakpoints, single step: SDM vol. 3, chapter 18.
#
#   DR6  15 BT  14 BS  13 BD  3..0 B3..B0          DR7  31..16 LEN3 R/W3 .. LEN0 R/W0
#                                                       13 GD  9 GE  8 LE  7..0 G3 L3 .. G0 L0
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.state cimport Cpu, Instr

cdef enum:
    DR6_B = 0xF
    DR6_BD = 0x2000
    DR6_BS = 0x4000
    DR6_BT = 0x8000
    DR6_ONES = 0xFFFF0FF0u
    DR6_WRITABLE = 0xE00F
    DR7_GD = 0x2000
    DR7_ONES = 0x400
    DR7_WRITABLE = 0xFFFF23FFu

# -- for the engines --
# Data breakpoints on [la, la+size): noted in pending_db, delivered as a trap after the instruction.
cdef void check_watchpoint(Cpu* cpu, uint64_t la, int size, int access) noexcept nogil
# Before an instruction is fetched, RF clear: raises #DB (a fault) where an instruction breakpoint matches.
cdef void check_code_breakpoints(Cpu* cpu) noexcept nogil
# After an instruction that began with TF set: BS into pending_db.
cdef void note_single_step(Cpu* cpu) noexcept nogil

cdef void mov_from_dr(Cpu* cpu, Instr* i) noexcept nogil
cdef void mov_to_dr(Cpu* cpu, Instr* i) noexcept nogil
# Before an instruction: #DB (a fault) when a breakpoint lies on RIP.
cdef void check_code_breakpoints(Cpu* cpu) noexcept nogil
# A data access or port access that breakpoints watch makes a #DB pending, a trap.
cdef void check_watchpoint(Cpu* cpu, uint64_t la, int size, int access) noexcept nogil
cdef void check_port_breakpoints(Cpu* cpu, uint32_t port, int size) noexcept nogil
# After an instruction that began with TF set.
cdef void note_single_step(Cpu* cpu) noexcept nogil
# Make a trap pending: bits as in DR6.
cdef void pend_trap(Cpu* cpu, uint64_t bits) noexcept nogil
