"""x87 and SSE state in memory: XSAVE and its kin, XCR0. SDM vol. 1, chapter 13.

XCR0 has two components, x87 (bit 0) and SSE (bit 1), so the standard and the compacted form of an
XSAVE area look the same: 512 bytes as FXSAVE writes them, then the header, 576 in all.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.ringfence.core.x86.access import check_write, load, load_bytes, store, store_bytes
from cython.cimports.ringfence.core.x86.faults import raise_fault, raise_gp, raise_ud
from cython.cimports.ringfence.core.x86.operands import next_
from cython.cimports.ringfence.core.x86.sse import Words
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
from cython.cimports.ringfence.core.x86.thunk import Bytes, scratch_image, scratch_operand
from cython.cimports.ringfence.core.x86.x87 import FCW_RESET, FxsaveP
from cython.cimports.ringfence.core.x86.xsave import (
    COMPACTED,
    HeaderP,
)
from cython.cimports.ringfence.core.x86.xsave_legacy import (
    XCR0_SSE,
    XCR0_VALID,
    XCR0_X87,
    ea_image,
    read_x87,
    write_mxcsr,
    write_x87,
    xmm_bytes,
)


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
def is_zero(data: Bytes, size: cython.int) -> cython.bint:
    words: Words = cython.cast(Words, data)
    bits: uint64_t = 0
    k: cython.int
    for k in range(size >> 3):
        bits |= words[k]
    return bits == 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_x87(cpu: CpuP) -> cython.bint:
    """Whether x87 state is not the initial one."""
    fx: FxsaveP = cython.address(cpu.a.fx)
    return (
        fx.fcw != FCW_RESET
        or (fx.fsw | fx.ftw | fx.fop) != 0
        or (fx.fip | fx.fdp) != 0
        or not is_zero(fx.st, 128)
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def in_use(cpu: CpuP) -> uint64_t:
    """XINUSE: the components that are not in their initial state (13.6)."""
    return (XCR0_X87 if has_x87(cpu) else 0) | (0 if is_zero(cpu.a.fx.xmm, xmm_bytes(cpu)) else XCR0_SSE)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def in_use_with_mxcsr(cpu: CpuP) -> uint64_t:
    """For the compacted form and XGETBV, MXCSR belongs to SSE (13.10)."""
    return in_use(cpu) | (XCR0_SSE if cpu.a.fx.mxcsr != MXCSR_RESET else 0)


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
def save_components(cpu: CpuP, i: InstrP, la: uint64_t, components: uint64_t, mxcsr: uint64_t) -> cython.void:
    """Write the legacy part of `components` to an area that was found writable."""
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
def xsave(cpu: CpuP, i: InstrP) -> cython.void:
    check_xsave(cpu)
    la: uint64_t = ea_image(cpu, i, 576, 64, 1)
    rfbm: uint64_t = requested(cpu)
    present: uint64_t = load(cpu, la + 512, 8) & ~rfbm | rfbm & in_use(cpu)
    check_write(cpu, la, 520)
    save_components(cpu, i, la, rfbm, rfbm & XCR0_SSE)
    store(cpu, la + 512, present, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsaveopt(cpu: CpuP, i: InstrP) -> cython.void:
    """XSAVE that leaves out components in their initial state."""
    check_xsave(cpu)
    la: uint64_t = ea_image(cpu, i, 576, 64, 1)
    rfbm: uint64_t = requested(cpu)
    components: uint64_t = rfbm & in_use(cpu)
    present: uint64_t = load(cpu, la + 512, 8) & ~rfbm | components
    check_write(cpu, la, 520)
    save_components(cpu, i, la, components, rfbm & XCR0_SSE)
    store(cpu, la + 512, present, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xsavec(cpu: CpuP, i: InstrP) -> cython.void:
    """The compacted form: the old header is not read, XCOMP_BV says what has a place."""
    check_xsave(cpu)
    la: uint64_t = ea_image(cpu, i, 576, 64, 1)
    rfbm: uint64_t = requested(cpu)
    components: uint64_t = rfbm & in_use_with_mxcsr(cpu)
    check_write(cpu, la, 528)
    save_components(cpu, i, la, components, components & XCR0_SSE)
    store(cpu, la + 512, components, 8)
    store(cpu, la + 520, rfbm | COMPACTED, 8)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_valid_header(cpu: CpuP, header: HeaderP) -> cython.bint:
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
def restore_components(cpu: CpuP, i: InstrP, image: FxsaveP, header: HeaderP) -> cython.void:
    rfbm: uint64_t = requested(cpu)
    is_compacted: cython.bint = header.layout & COMPACTED != 0
    has_sse: cython.bint = header.present & XCR0_SSE != 0
    # the standard form takes MXCSR from memory even where the registers are initial
    if rfbm & XCR0_SSE and (has_sse or not is_compacted) and image.mxcsr & ~MXCSR_VALID:
        raise_gp(cpu)
    if rfbm & XCR0_X87:
        if header.present & XCR0_X87:
            read_x87(cpu, i, image)
        else:
            clear_x87(cpu)
    if rfbm & XCR0_SSE:
        cpu.a.fx.mxcsr = image.mxcsr if has_sse or not is_compacted else MXCSR_RESET
        if has_sse:
            memcpy(cpu.a.fx.xmm, image.xmm, xmm_bytes(cpu))
        else:
            memset(cpu.a.fx.xmm, 0, xmm_bytes(cpu))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xrstor(cpu: CpuP, i: InstrP) -> cython.void:
    check_xsave(cpu)
    la: uint64_t = ea_image(cpu, i, 576, 64, 0)
    load_bytes(cpu, la, scratch_image(cpu), 160 + xmm_bytes(cpu))
    load_bytes(cpu, la + 512, scratch_operand(cpu), 64)
    header: HeaderP = cython.cast(HeaderP, scratch_operand(cpu))
    if not is_valid_header(cpu, header):
        raise_gp(cpu)
    restore_components(cpu, i, cython.cast(FxsaveP, scratch_image(cpu)), header)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xgetbv(cpu: CpuP, i: InstrP) -> cython.void:
    """XCR0; with ECX = 1 the components in use."""
    which: uint32_t = cpu.a.regs[RCX]
    if not cpu.a.cr4 & CR4_OSXSAVE:
        raise_ud(cpu)
    if which > 1:
        raise_gp(cpu)
    cpu.a.regs[RAX] = cpu.a.xcr0 & (in_use_with_mxcsr(cpu) if which == 1 else XCR0_VALID)
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
    if value & ~XCR0_VALID or not value & XCR0_X87:
        raise_gp(cpu)
    cpu.a.xcr0 = value
    next_(cpu, i)
