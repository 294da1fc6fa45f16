"""x87 and SSE state in memory: FXSAVE, FXRSTOR, MXCSR. SDM vol. 1, 10.5.

The 512 bytes of FXSAVE are also the legacy region of an XSAVE area.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86.access import load, load_bytes, store, store_bytes
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_gp
from cython.cimports.ringfence.core.x86.operands import ea, next_
from cython.cimports.ringfence.core.x86.sse import check_sse
from cython.cimports.ringfence.core.x86.sse_float import MXCSR_VALID
from cython.cimports.ringfence.core.x86.state import (
    CR0_EM,
    CR0_TS,
    INSTR_REX_W,
    MODE_CODE64,
    MODE_CODE_MASK,
    NM,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.thunk import scratch_image
from cython.cimports.ringfence.core.x86.x87 import FxsaveP
from cython.cimports.ringfence.core.x86.x87_control import set_control
from cython.cimports.ringfence.core.x86.xsave_state import (
    COMPACTED,
    XCR0_X87,
    is_valid_xcr0,
    xcr0_mask,
    xmm_bytes,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sanitize_fpu(cpu: CpuP) -> cython.void:
    """Make a state that came from outside one that the host's FXRSTOR and XRSTOR take."""
    cpu.a.fx.mxcsr &= MXCSR_VALID
    if not is_valid_xcr0(cpu, cpu.a.xcr0):
        cpu.a.xcr0 = XCR0_X87
    memset(cython.address(cpu.a.xsave), 0, cython.sizeof(cpu.a.xsave))
    cpu.a.xsave.present = xcr0_mask(cpu)
    cpu.a.xsave.layout = xcr0_mask(cpu) | COMPACTED
    set_control(cython.address(cpu.a.fx), cpu.a.fx.fcw)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_64(cpu: CpuP) -> cython.bint:
    return (cpu.mode & MODE_CODE_MASK) == MODE_CODE64


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_fxsave(cpu: CpuP) -> cython.void:
    if cpu.a.cr0 & (CR0_EM | CR0_TS):
        raise_fault(cpu, NM)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ea_image(cpu: CpuP, i: InstrP, size: cython.int, alignment: cython.int, is_write: cython.int) -> uint64_t:
    la: uint64_t = ea(cpu, i, size, is_write)
    if la & (alignment - 1):
        raise_gp(cpu)
    return la


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_x87(cpu: CpuP, i: InstrP, to: FxsaveP) -> cython.void:
    """Bytes 0 to 23 and 32 to 159 of an image."""
    memcpy(to, cython.address(cpu.a.fx), 24)
    to.pad0 = 0
    if not i.attr & INSTR_REX_W and is_64(cpu):
        # 64-bit code keeps no selectors: FCS and FDS are 0
        to.fip = cython.cast(uint32_t, to.fip)
        to.fdp = cython.cast(uint32_t, to.fdp)
    memcpy(to.st, cpu.a.fx.st, 128)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_mxcsr(cpu: CpuP, to: FxsaveP) -> cython.void:
    to.mxcsr = cpu.a.fx.mxcsr
    to.mxcsr_mask = MXCSR_VALID


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_x87(cpu: CpuP, i: InstrP, image: FxsaveP) -> cython.void:
    k: cython.int
    memcpy(cython.address(cpu.a.fx), image, 24)
    set_control(cython.address(cpu.a.fx), image.fcw)
    cpu.a.fx.pad0 = 0
    cpu.a.fx.fop &= 0x7FF
    if not i.attr & INSTR_REX_W and is_64(cpu):
        cpu.a.fx.fip = cython.cast(uint32_t, image.fip)
        cpu.a.fx.fdp = cython.cast(uint32_t, image.fdp)
    memset(cpu.a.fx.st, 0, 128)
    for k in range(8):
        memcpy(cython.address(cpu.a.fx.st[k * 16]), cython.address(image.st[k * 16]), 10)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fxsave(cpu: CpuP, i: InstrP) -> cython.void:
    """m512byte"""
    check_fxsave(cpu)
    la: uint64_t = ea_image(cpu, i, 512, 16, 1)
    image: FxsaveP = cython.cast(FxsaveP, scratch_image(cpu))
    write_x87(cpu, i, image)
    write_mxcsr(cpu, image)
    memcpy(image.xmm, cpu.a.fx.xmm, 256)
    store_bytes(cpu, la, scratch_image(cpu), 160 + xmm_bytes(cpu))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fxrstor(cpu: CpuP, i: InstrP) -> cython.void:
    """m512byte"""
    check_fxsave(cpu)
    la: uint64_t = ea_image(cpu, i, 512, 16, 0)
    image: FxsaveP = cython.cast(FxsaveP, scratch_image(cpu))
    load_bytes(cpu, la, scratch_image(cpu), 160 + xmm_bytes(cpu))
    if image.mxcsr & ~MXCSR_VALID:
        raise_gp(cpu)
    read_x87(cpu, i, image)
    cpu.a.fx.mxcsr = image.mxcsr
    memcpy(cpu.a.fx.xmm, image.xmm, xmm_bytes(cpu))
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_mxcsr(cpu: CpuP, i: InstrP) -> cython.void:
    value: uint32_t = load(cpu, ea(cpu, i, 4, 0), 4)
    if value & ~MXCSR_VALID:
        raise_gp(cpu)
    cpu.a.fx.mxcsr = value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def store_mxcsr(cpu: CpuP, i: InstrP) -> cython.void:
    store(cpu, ea(cpu, i, 4, 1), cpu.a.fx.mxcsr, 4)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ldmxcsr(cpu: CpuP, i: InstrP) -> cython.void:
    """m32"""
    check_sse(cpu)
    load_mxcsr(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stmxcsr(cpu: CpuP, i: InstrP) -> cython.void:
    """m32"""
    check_sse(cpu)
    store_mxcsr(cpu, i)
    next_(cpu, i)
