"""Raising an exception from inside an instruction: SDM vol. 3, chapter 6.

A fault is a long jump to the run loop's landing place. Handlers change guest state only after
everything that can fault has been done, so the saved state is the one before the instruction.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.escape import LAND_EXIT, LAND_FAULT, longjmp
from cython.cimports.ringfence.core.x86.state import GP, PF_VECTOR, UD, CpuP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_fault(cpu: CpuP, vector: cython.int) -> cython.void:
    cpu.fault_vector = vector
    cpu.fault_has_error = 0
    cpu.fault_error = 0
    longjmp(cpu.escape, LAND_FAULT)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_error(cpu: CpuP, vector: cython.int, error: uint32_t) -> cython.void:
    cpu.fault_vector = vector
    cpu.fault_has_error = 1
    cpu.fault_error = error
    longjmp(cpu.escape, LAND_FAULT)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_gp(cpu: CpuP) -> cython.void:
    raise_error(cpu, GP, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_ud(cpu: CpuP) -> cython.void:
    raise_fault(cpu, UD)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_page_fault(cpu: CpuP, la: uint64_t, error: uint32_t) -> cython.void:
    """#PF at linear address ``la``; CR2 is set at once, as the processor does."""
    cpu.a.cr2 = la
    cpu.count.page_faults += 1
    raise_error(cpu, PF_VECTOR, error)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def leave(cpu: CpuP, reason: cython.int) -> cython.void:
    """Exit to the VMM with the instruction not done: it will be run again from its start."""
    cpu.exit.reason = reason
    longjmp(cpu.escape, LAND_EXIT)
