"""Privileged instructions that ring 0 runs without leaving translated code: SDM vol. 2, CLI and SWAPGS.

A translation is of one TLB view, and so of one side of the ring 0 border: in the supervisor's views CPL
is 0, 1 or 2, and 64-bit code of rings 1 and 2 is not translated.
"""

import cython
from cython.cimports.ringfence.core.translate.builder import FLAGS_SAVED, BuilderP
from cython.cimports.ringfence.core.translate.encode import (
    EmitterP,
    Operand,
    absolute,
    put32,
    put_load,
    put_op,
    put_store,
)
from cython.cimports.ringfence.core.translate.flags_state import save_flags
from cython.cimports.ringfence.core.x86.state import GS, IF_FLAG, VIEW_USER


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_ring_0(b: BuilderP) -> cython.bint:
    return b.is_64 and b.cpu.view != VIEW_USER and b.cpu.a.cpl == 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_disable_interrupts(b: BuilderP) -> cython.bint:
    flags: Operand = absolute(cython.address(b.cpu.a.rflags))
    if not is_ring_0(b):
        return False
    save_flags(b, b.live_in[b.index])
    b.flags = FLAGS_SAVED
    put_op(cython.address(b.e), 0, 0x81, 4, cython.address(flags))
    put32(cython.address(b.e), ~IF_FLAG)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_swap_base(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    if not is_ring_0(b):
        return False
    b.is_s1_used = 1
    put_load(e, b.s0, cython.address(b.cpu.a.seg[GS].base))
    put_load(e, b.s1, cython.address(b.cpu.a.msr.kernel_gs_base))
    put_store(e, b.s1, cython.address(b.cpu.a.seg[GS].base))
    put_store(e, b.s0, cython.address(b.cpu.a.msr.kernel_gs_base))
    return True
