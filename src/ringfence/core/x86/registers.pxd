# Python's views of a vCPU's registers and of its exit record.
from ringfence.core.x86.state cimport Cpu

cdef class Registers:
    cdef Cpu* cpu
    cdef object owner           # keeps *cpu alive

cdef class Exit:
    cdef Cpu* cpu
    cdef object owner

cdef Registers view_registers(Cpu* cpu, object owner)
cdef Exit view_exit(Cpu* cpu, object owner)
