# Hardware task switching and the I/O permission bitmap.
from libc.stdint cimport uint32_t, uint64_t
from ringfence.core.x86.descriptor cimport Descriptor
from ringfence.core.x86.state cimport Cpu

cdef enum SwitchCause:
    FROM_JMP = 0
    FROM_CALL = 1
    FROM_GATE = 2               # an interrupt or exception through a task gate
    FROM_IRET = 3

# Through a task gate that has been checked; `rip` and `flags` are saved in the old TSS.
cdef void switch_through_gate(
    Cpu* cpu, uint32_t selector, int cause, uint64_t flags, uint64_t rip, bint has_error, uint32_t error) noexcept nogil
# To the TSS whose descriptor `d` has been fetched from the GDT.
cdef void switch_task(
    Cpu* cpu, Descriptor* d, int cause, uint64_t flags, uint64_t rip, bint has_error, uint32_t error) noexcept nogil
# IRET with NT set.
cdef void return_from_task(Cpu* cpu, uint64_t rip) noexcept nogil
# #GP(0) when the program may not use this port.
cdef void check_io(Cpu* cpu, uint32_t port, int size) noexcept nogil
# Virtual-8086 mode extensions: does INT `vector` stay in the 8086 program?
cdef bint is_redirected(Cpu* cpu, int vector) noexcept nogil
