"""The guest's x87 and vector registers: in the host's registers while translated code uses them.

SDM vol. 1, chapter 13. XSAVEC leaves out components in their initial state; in `Arch` everything is
always there.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.translate.translation import LEVEL_AVX, LEVEL_AVX512, LEVEL_SSE
from cython.cimports.ringfence.core.x86.state import CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE, CpuP
from cython.cimports.ringfence.core.x86.xsave_state import (
    COMPACTED,
    COMPONENTS,
    FIRST_EXTENDED,
    XCR0_AVX,
    XCR0_AVX512,
    XCR0_SSE,
    XCR0_X87,
    component,
    component_state,
    xcr0_mask,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def vector_level(cpu: CpuP) -> cython.int:
    """Nothing runs on the host that the guest has switched off, or whose exceptions it has unmasked:
    those would trap there."""
    if (
        cpu.a.cr0 & (CR0_TS | CR0_EM)
        or not cpu.a.cr4 & CR4_OSFXSR
        or cpu.a.fx.mxcsr & 0x1F80 != 0x1F80
        or cpu.a.fx.fcw & 0x3F != 0x3F
    ):
        return 0
    if not cpu.a.cr4 & CR4_OSXSAVE or cpu.a.xcr0 & (XCR0_AVX | XCR0_SSE) != XCR0_AVX | XCR0_SSE:
        return LEVEL_SSE
    return LEVEL_AVX512 if cpu.a.xcr0 & XCR0_AVX512 == XCR0_AVX512 else LEVEL_AVX


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def settle_vector(cpu: CpuP) -> cython.void:
    mask: uint64_t
    k: cython.int
    if cpu.a.xsave.layout & XCR0_X87:
        # not XSAVEC's, which is asked for the upper components alone
        return
    mask = xcr0_mask(cpu)
    for k in range(FIRST_EXTENDED, COMPONENTS):
        if mask >> k & 1 and not cpu.a.xsave.present >> k & 1:
            memset(component_state(cpu, k), 0, component(k).bytes)
    cpu.a.xsave.present = mask
    cpu.a.xsave.layout = mask | COMPACTED
