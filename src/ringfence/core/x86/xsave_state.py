"""State components of XSAVE: XCR0, XINUSE, layouts of an area. SDM vol. 1, 13.1 to 13.6.

The standard form has the offsets of Intel processors, AMD's leave out the room for MPX; CPUID tells a
guest which. `Arch` keeps its own state in the compacted form, which is the same on all processors.
"""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86._gen_features import FEATURE_AVX, FEATURE_AVX512F
from cython.cimports.ringfence.core.x86.cpuid import has_feature
from cython.cimports.ringfence.core.x86.sse import ConstVector, Vector, Words
from cython.cimports.ringfence.core.x86.sse_float import MXCSR_RESET
from cython.cimports.ringfence.core.x86.state import MODE_CODE64, MODE_CODE_MASK, Cpu, CpuP
from cython.cimports.ringfence.core.x86.x87 import FCW_RESET, FxsaveP
from cython.cimports.ringfence.core.x86.xsave_state import (
    COMPONENTS,
    FIRST_EXTENDED,
    LEGACY_BYTES,
    XCR0_AVX,
    XCR0_AVX512,
    XCR0_SSE,
    XCR0_X87,
    Component,
)

components = cython.declare(Component[COMPONENTS])


def describe_components() -> None:
    """Fill `components`; once, at import."""
    cpu: CpuP = cython.NULL
    base: uint64_t = cython.cast(uint64_t, cython.address(cpu.a.fx))
    k: cython.int
    bytes_offsets = {2: (256, 576), 5: (64, 1088), 6: (512, 1152), 7: (1024, 1664)}
    for k, (size, offset) in bytes_offsets.items():
        components[k].bytes = size
        components[k].offset = offset
    components[2].state = cython.cast(uint64_t, cython.address(cpu.a.high.ymm)) - base
    components[5].state = cython.cast(uint64_t, cython.address(cpu.a.high.opmask)) - base
    components[6].state = cython.cast(uint64_t, cython.address(cpu.a.high.zmm)) - base
    components[7].state = cython.cast(uint64_t, cython.address(cpu.a.high.hi16)) - base
    compacted = 576
    for k in bytes_offsets:
        if components[k].state != compacted:
            raise AssertionError("VectorHigh is not an XSAVE area")
        compacted += components[k].bytes
    if base % 64:
        raise AssertionError("the vector state in Arch is not aligned")


describe_components()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def component(number: cython.int) -> cython.pointer(cython.const[Component]):
    return cython.address(components[number])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def component_state(cpu: CpuP, number: cython.int) -> Vector:
    # SAFETY: describe_components() took the offset from the struct itself
    return cython.cast(Vector, cython.address(cpu.a.fx)) + components[number].state


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xmm_bytes(cpu: CpuP) -> cython.int:
    """Only 64-bit code touches XMM8 to XMM15."""
    return 256 if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64 else 128


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def component_bytes(cpu: CpuP, number: cython.int) -> cython.int:
    if (cpu.mode & MODE_CODE_MASK) == MODE_CODE64 or number == 5:
        return components[number].bytes
    return 0 if number == 7 else components[number].bytes >> 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def standard_bytes(present: uint64_t) -> uint64_t:
    size: uint64_t = LEGACY_BYTES
    k: cython.int
    for k in range(FIRST_EXTENDED, COMPONENTS):
        if present >> k & 1:
            size = components[k].offset + components[k].bytes
    return size


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compacted_bytes(present: uint64_t) -> uint64_t:
    size: uint64_t = LEGACY_BYTES
    k: cython.int
    for k in range(FIRST_EXTENDED, COMPONENTS):
        if present >> k & 1:
            size += components[k].bytes
    return size


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xcr0_mask(cpu: cython.pointer(cython.const[Cpu])) -> uint64_t:
    mask: uint64_t = XCR0_X87 | XCR0_SSE
    if has_feature(cpu, FEATURE_AVX):
        mask |= XCR0_AVX
    if has_feature(cpu, FEATURE_AVX512F):
        mask |= XCR0_AVX512
    return mask


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_valid_xcr0(cpu: cython.pointer(cython.const[Cpu]), value: uint64_t) -> cython.bint:
    """XSETBV's rules: SDM vol. 1, 13.3."""
    if value & ~xcr0_mask(cpu) or not value & XCR0_X87:
        return False
    if value & XCR0_AVX and not value & XCR0_SSE:
        return False
    return value & XCR0_AVX512 == 0 or value & (XCR0_AVX512 | XCR0_AVX) == XCR0_AVX512 | XCR0_AVX


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_zero(data: ConstVector, size: cython.int) -> cython.bint:
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
    found: uint64_t = XCR0_X87 if has_x87(cpu) else 0
    k: cython.int
    if not is_zero(cpu.a.fx.xmm, xmm_bytes(cpu)):
        found |= XCR0_SSE
    for k in range(FIRST_EXTENDED, COMPONENTS):
        if components[k].bytes and not is_zero(component_state(cpu, k), component_bytes(cpu, k)):
            found |= cython.cast(uint64_t, 1) << k
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def in_use_with_mxcsr(cpu: CpuP) -> uint64_t:
    """For the compacted form and XGETBV, MXCSR belongs to SSE (13.10)."""
    return in_use(cpu) | (XCR0_SSE if cpu.a.fx.mxcsr != MXCSR_RESET else 0)
