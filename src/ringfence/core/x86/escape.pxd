# Where raise_fault() and leave() land: the setjmp of the run loop.
from ringfence.core.x86.state cimport jmp_buf

cdef extern from "<setjmp.h>" nogil:
    int _setjmp(jmp_buf env)
    void longjmp(jmp_buf env, int value)

cdef enum:
    LAND_FAULT = 1
    LAND_EXIT = 2
