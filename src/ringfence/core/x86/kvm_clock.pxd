# KVM's paravirtual clock.
from libc.stdint cimport uint64_t
from ringfence.core.x86.state cimport Cpu

cdef void set_system_time(Cpu* cpu, uint64_t value) noexcept nogil
cdef void set_wall_clock(Cpu* cpu, uint64_t value) noexcept nogil
# Write the page again: after the TSC was set, and when a paused machine goes on.
cdef void refresh_clock(Cpu* cpu) noexcept nogil
