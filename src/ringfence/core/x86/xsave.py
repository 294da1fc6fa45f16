"""Processor state in memory: XSAVE and its kin, XCR0. SDM vol. 1, chapter 13.

An area begins with 512 bytes as FXSAVE writes them and a header of 64. Above lie the components of AVX
and AVX-512: in the standard form each at its own offset, in the compacted one without gaps.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86._gen_features import FEATURE_XGETBV1
from cython.cimports.ringfence.core.x86.access import (
    check_read,
    check_write,
    load,
    load_bytes,
    store,
    store_bytes,
)
from cython.cimports.ringfence.core.x86.cpuid import has_feature
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.sse_float import MXCSR_RESET, MXCSR_VALID
from cython.cimports.ringfence.core.x86.state import (
    CR0_TS,
    CR4_OSXSAVE,
    NM,
    RAX,
    RCX,
    RDX,
    CpuP,
    InstrP,
)
from cython.cimports.ringfence.core.x86.state_parts import XsaveHeader
from cython.cimports.ringfence.core.x86.thunk import Bytes, scratch_image, scratch_operand
from cython.cimports.ringfence.core.x86.x87 import FCW_RESET, FxsaveP
from cython.cimports.ringfence.core.x86.xsave_legacy import ea_image, read_x87, write_mxcsr, write_x87
from cython.cimports.ringfence.core.x86.xsave_state import (
    COMPACTED,
    COMPONENTS,
    FIRST_EXTENDED,
    LEGACY_BYTES,
    XCR0_AVX,
    XCR0_SSE,
    XCR0_X87,
    compacted_bytes,
    component,
    component_bytes,
    component_state,
    in_use,
    in_use_with_mxcsr,
    is_valid_xcr0,
    is_zero,
    standard_bytes,
    xmm_bytes,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def requested(cpu: CpuP) -> uint64_t:
    """RFBM: XCR0 and EDX:EAX."""
    return cpu.a.xcr0 & (cython.cast(uint32_t, cpu.a.regs[RAX]) | cpu.a.regs[RDX] << 32)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_xsave(cpu: CpuP) -> cython.void:
    if not cpu.a.cr4 & CR4_OSXSAVE:
        raise_ud(cpu)
    if cpu.a.cr0 & CR0_TS:
        raise_fault(cpu, NM)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def component_offset(number: cython.int, layout: uint64_t) -> uint64_t:
    """Where a component lies in an area with this XCOMP_BV."""
    if layout & COMPACTED:
        return compacted_bytes(layout & ((cython.cast(uint64_t, 1) << number) - 1))
    return component(number).offset


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def save_legacy(cpu: CpuP, i: InstrP, la: uint64_t, components: uint64_t, mxcsr: uint64_t) -> cython.void:
    image: FxsaveP = cython.cast(FxsaveP, scratch_image(cpu))
    data: Bytes = scratch_image(cpu)
    write_x87(cpu, i, image)
    write_mxcsr(cpu, image)
    if components & XCR0_X87:
        store_bytes(cpu, la, data, 24)
        store_bytes(cpu, la + 32, data + 32, 128)
    if mxcsr:
        store_bytes(cpu, la + 24, data + 24, 8)
    if components & XCR0_SSE:
        store_bytes(cpu, la + 160, cpu.a.fx.xmm, xmm_bytes(cpu))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def save_components(
    cpu: CpuP, i: InstrP, la: uint64_t, components: uint64_t, mxcsr: uint64_t, layout: uint64_t
) -> cython.void:
    """Write `components` to an area that was found writable."""
    k: cython.int
    save_legacy(cpu, i, la, components, mxcsr)
    for k in range(FIRST_EXTENDED, COMPONENTS):
        if components >> k & 1:
            store_bytes(
                cpu, la + component_offset(k, layout), component_state(cpu, k), component_bytes(cpu, k)
            )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def save_standard(cpu: CpuP, i: InstrP, is_optimized: cython.bint) -> cython.void:
    check_xsave(cpu)
    rfbm: uint64_t = requested(cpu)
    size: uint64_t = standard_bytes(rfbm)
    la: uint64_t = ea_image(cpu, i, size, 64, 1)
    used: uint64_t = rfbm & in_use(cpu)
    present: uint64_t = load(cpu, la + 512, 8) & ~rfbm | used
    check_write(cpu, la, size)
    save_components(cpu, i, la, used if is_optimized else rfbm, rfbm & (XCR0_SSE | XCR0_AVX), 0)
    store(cpu, la + 512, present, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsave(cpu: CpuP, i: InstrP) -> cython.void:
    save_standard(cpu, i, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsaveopt(cpu: CpuP, i: InstrP) -> cython.void:
    """XSAVE that leaves out components in their initial state."""
    save_standard(cpu, i, True)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsavec(cpu: CpuP, i: InstrP) -> cython.void:
    """The compacted form: the old header is not read, XCOMP_BV says what has a place."""
    check_xsave(cpu)
    rfbm: uint64_t = requested(cpu)
    size: uint64_t = compacted_bytes(rfbm)
    la: uint64_t = ea_image(cpu, i, size, 64, 1)
    components: uint64_t = rfbm & in_use_with_mxcsr(cpu)
    check_write(cpu, la, size)
    save_components(cpu, i, la, components, components & XCR0_SSE, rfbm | COMPACTED)
    store(cpu, la + 512, components, 8)
    store(cpu, la + 520, rfbm | COMPACTED, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_valid_header(cpu: CpuP, header: cython.pointer(XsaveHeader)) -> cython.bint:
    """XRSTOR's checks: SDM vol. 1, 13.8.1 and 13.8.2."""
    if header.layout & COMPACTED:
        return (
            header.layout & ~(cpu.a.xcr0 | COMPACTED) == 0
            and header.present & ~header.layout == 0
            and is_zero(cython.cast(Bytes, header.reserved), 48)
        )
    return header.present & ~cpu.a.xcr0 == 0 and header.layout == 0 and header.reserved[0] == 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def clear_x87(cpu: CpuP) -> cython.void:
    memset(cython.address(cpu.a.fx), 0, 24)
    memset(cpu.a.fx.st, 0, 128)
    cpu.a.fx.fcw = FCW_RESET


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore_legacy(cpu: CpuP, i: InstrP, image: FxsaveP, rfbm: uint64_t, present: uint64_t) -> cython.void:
    if rfbm & XCR0_X87:
        if present & XCR0_X87:
            read_x87(cpu, i, image)
        else:
            clear_x87(cpu)
    if rfbm & XCR0_SSE:
        if present & XCR0_SSE:
            memcpy(cpu.a.fx.xmm, image.xmm, xmm_bytes(cpu))
        else:
            memset(cpu.a.fx.xmm, 0, xmm_bytes(cpu))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore_components(
    cpu: CpuP, la: uint64_t, rfbm: uint64_t, header: cython.pointer(XsaveHeader)
) -> cython.void:
    """From an area that was found readable: only an access that the VMM answers can still leave from here,
    and then all is loaded anew."""
    present: uint64_t = header.present
    layout: uint64_t = header.layout
    k: cython.int
    for k in range(FIRST_EXTENDED, COMPONENTS):
        if rfbm & present & cython.cast(uint64_t, 1) << k:
            load_bytes(
                cpu, la + component_offset(k, layout), component_state(cpu, k), component_bytes(cpu, k)
            )
        elif rfbm >> k & 1:
            memset(component_state(cpu, k), 0, component_bytes(cpu, k))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xrstor(cpu: CpuP, i: InstrP) -> cython.void:
    check_xsave(cpu)
    rfbm: uint64_t = requested(cpu)
    la: uint64_t = ea_image(cpu, i, LEGACY_BYTES, 64, 0)
    image: FxsaveP = cython.cast(FxsaveP, scratch_image(cpu))
    header: cython.pointer(XsaveHeader) = cython.cast(cython.pointer(XsaveHeader), scratch_operand(cpu))
    load_bytes(cpu, la, scratch_image(cpu), 160 + xmm_bytes(cpu))
    load_bytes(cpu, la + 512, scratch_operand(cpu), 64)
    if not is_valid_header(cpu, header):
        raise_gp(cpu)
    size: uint64_t
    if header.layout & COMPACTED:
        # MXCSR belongs to SSE: in its initial state where that is (13.8.2)
        if not rfbm & XCR0_SSE:
            image.mxcsr = cpu.a.fx.mxcsr
        elif not header.present & XCR0_SSE:
            image.mxcsr = MXCSR_RESET
        size = compacted_bytes(header.layout & ~COMPACTED)
    else:
        # from memory even where the registers are initial (13.8.1)
        if not rfbm & (XCR0_SSE | XCR0_AVX):
            image.mxcsr = cpu.a.fx.mxcsr
        size = standard_bytes(rfbm & header.present)
    check_read(cpu, ea_image(cpu, i, size, 64, 0), size)
    if image.mxcsr & ~MXCSR_VALID:
        raise_gp(cpu)
    restore_components(cpu, la, rfbm, header)
    restore_legacy(cpu, i, image, rfbm, header.present)
    cpu.a.fx.mxcsr = image.mxcsr
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xgetbv(cpu: CpuP, i: InstrP) -> cython.void:
    """XCR0; with ECX = 1 the components in use."""
    which: uint32_t = cpu.a.regs[RCX]
    if not cpu.a.cr4 & CR4_OSXSAVE:
        raise_ud(cpu)
    if which > has_feature(cpu, FEATURE_XGETBV1):
        raise_gp(cpu)
    cpu.a.regs[RAX] = cpu.a.xcr0
    if which == 1:
        cpu.a.regs[RAX] &= in_use_with_mxcsr(cpu)
    cpu.a.regs[RDX] = 0
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsetbv(cpu: CpuP, i: InstrP) -> cython.void:
    """XCR0, which always has x87."""
    value: uint64_t = cython.cast(uint32_t, cpu.a.regs[RAX]) | cpu.a.regs[RDX] << 32
    if not cpu.a.cr4 & CR4_OSXSAVE:
        raise_ud(cpu)
    if cpu.a.cpl != 0 or cython.cast(uint32_t, cpu.a.regs[RCX]) != 0:
        raise_gp(cpu)
    if not is_valid_xcr0(cpu, value):
        raise_gp(cpu)
    cpu.a.xcr0 = value
    next_(cpu, i)
