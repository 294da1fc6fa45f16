"""Segment registers: fetching descriptors, the checks, the hidden parts. SDM vol. 3, 3.4 and 5.5.

The hidden part of a segment register (base, limit, attr) is authoritative in every mode, as in
the processor: real mode changes only the base, so that "big real mode" works, and 64-bit code
ignores what it must ignore when it computes an address, not here.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load_system, store_system
from cython.cimports.ringfence.core.x86.descriptor import (
    ATTR_DATA_RW,
    ATTR_V86,
    Descriptor,
    dpl_of,
    is_code,
    is_code64,
    is_conforming,
    is_null,
    is_present,
    is_protected,
    is_readable,
    is_v86,
    is_writable_data,
    parse_descriptor,
    rpl_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_error
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.segments import external_bit
from cython.cimports.ringfence.core.x86.state import (
    ATTR_ACCESSED,
    ATTR_NULL,
    ATTR_P,
    ATTR_S,
    CS,
    DS,
    ES,
    FS,
    GP,
    GS,
    LDTR,
    NP,
    SS,
    SS_VECTOR,
    CpuP,
    Segment,
)
from cython.cimports.ringfence.core.x86.tlb import new_generation


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raise_selector(cpu: CpuP, vector: cython.int, selector: uint32_t) -> cython.void:
    raise_error(cpu, vector, (selector & 0xFFFC) | external_bit(cpu))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_descriptor(cpu: CpuP, selector: uint32_t, d: cython.pointer(Descriptor)) -> cython.bint:
    raw: uint64_t
    index: uint32_t = selector & 0xFFF8
    d.selector = selector
    if selector & 4:
        if cpu.a.seg[LDTR].attr & ATTR_NULL or index + 7 > cpu.a.seg[LDTR].limit:
            return False
        d.address = cpu.a.seg[LDTR].base + index
    else:
        if index + 7 > cpu.a.gdtr.limit:
            return False
        d.address = cpu.a.gdtr.base + index
    raw = load_system(cpu, d.address, 8)
    parse_descriptor(d, cython.cast(uint32_t, raw), cython.cast(uint32_t, raw >> 32))
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def require_descriptor(
    cpu: CpuP, selector: uint32_t, vector: cython.int, d: cython.pointer(Descriptor)
) -> cython.void:
    if is_null(selector):
        raise_selector(cpu, vector, 0)
    if not read_descriptor(cpu, selector, d):
        raise_selector(cpu, vector, selector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_upper(cpu: CpuP, d: cython.pointer(Descriptor), upper: cython.pointer(uint32_t)) -> cython.bint:
    raw: uint64_t
    limit: uint32_t = cpu.a.seg[LDTR].limit if d.selector & 4 else cpu.a.gdtr.limit
    if (d.selector & 0xFFF8) + 15 > limit:
        return False
    raw = load_system(cpu, d.address + 8, 8)
    if (raw >> 40) & 0x1F:
        return False
    upper[0] = cython.cast(uint32_t, raw)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mark_accessed(cpu: CpuP, d: cython.pointer(Descriptor)) -> cython.void:
    if not d.attr & ATTR_ACCESSED:
        d.attr |= ATTR_ACCESSED
        store_system(cpu, d.address + 5, d.attr & 0xFF, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit(
    cpu: CpuP, name: cython.int, selector: uint32_t, base: uint64_t, limit: uint32_t, attr: uint32_t
) -> cython.void:
    """The one place where a loaded segment changes. The jump cache knows RIP, but not where CS lies."""
    segment: cython.pointer(Segment) = cython.address(cpu.a.seg[name])
    if name == CS and (segment.base != base or segment.limit != limit):
        new_generation(cpu)
    segment.selector = selector
    segment.base = base
    segment.limit = limit
    segment.attr = attr


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit_segment(
    cpu: CpuP, name: cython.int, selector: uint32_t, d: cython.pointer(cython.const[Descriptor])
) -> cython.void:
    commit(cpu, name, selector, d.base, d.limit, d.attr)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit_null(cpu: CpuP, name: cython.int, selector: uint32_t) -> cython.void:
    """A null selector, with base and limit cleared as Intel's processors do."""
    commit(cpu, name, selector, 0, 0, ATTR_NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit_real(cpu: CpuP, name: cython.int, selector: uint32_t) -> cython.void:
    """Real mode: the base; limit and rights stay as protected mode left them."""
    limit: uint32_t = cpu.a.seg[name].limit
    attr: uint32_t = cpu.a.seg[name].attr | ATTR_P | ATTR_S
    if attr & ATTR_NULL:
        limit = 0xFFFF
        attr = ATTR_DATA_RW
    commit(cpu, name, selector, (selector & 0xFFFF) << 4, limit, attr)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def commit_v86(cpu: CpuP, name: cython.int, selector: uint32_t) -> cython.void:
    commit(cpu, name, selector, (selector & 0xFFFF) << 4, 0xFFFF, ATTR_V86)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_stack_segment(
    cpu: CpuP, selector: uint32_t, cpl: cython.int, vector: cython.int, d: cython.pointer(Descriptor)
) -> cython.void:
    require_descriptor(cpu, selector, vector, d)
    if rpl_of(selector) != cpl or dpl_of(d.attr) != cpl or not is_writable_data(d.attr):
        raise_selector(cpu, vector, selector)
    if not is_present(d.attr):
        raise_selector(cpu, SS_VECTOR, selector)
    mark_accessed(cpu, d)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_data_segment(
    cpu: CpuP, selector: uint32_t, cpl: cython.int, vector: cython.int, d: cython.pointer(Descriptor)
) -> cython.void:
    dpl: cython.int
    require_descriptor(cpu, selector, vector, d)
    dpl = dpl_of(d.attr)
    if not is_readable(d.attr):
        raise_selector(cpu, vector, selector)
    if not (is_code(d.attr) and is_conforming(d.attr)) and (rpl_of(selector) > dpl or cpl > dpl):
        raise_selector(cpu, vector, selector)
    if not is_present(d.attr):
        raise_selector(cpu, NP, selector)
    mark_accessed(cpu, d)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_protected(cpu: CpuP, name: cython.int, selector: uint32_t) -> cython.void:
    d: Descriptor
    if name == SS:
        if is_null(selector) and is_code64(cpu) and cpu.a.cpl < 3 and rpl_of(selector) == cpu.a.cpl:
            commit_null(cpu, SS, selector)
            return
        check_stack_segment(cpu, selector, cpu.a.cpl, GP, cython.address(d))
    elif is_null(selector):
        commit_null(cpu, name, selector)
        return
    else:
        check_data_segment(cpu, selector, cpu.a.cpl, GP, cython.address(d))
    commit_segment(cpu, name, selector, cython.address(d))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_segment(cpu: CpuP, name: cython.int, selector: uint32_t) -> cython.void:
    if is_protected(cpu):
        load_protected(cpu, name, selector)
    elif is_v86(cpu):
        commit_v86(cpu, name, selector)
    else:
        commit_real(cpu, name, selector)
    refresh_mode(cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_segment(cpu: CpuP, name: cython.int) -> cython.void:
    attr: uint32_t = cpu.a.seg[name].attr
    if attr & ATTR_NULL or (is_code(attr) and is_conforming(attr)):
        return
    if dpl_of(attr) < cpu.a.cpl:
        # the base stays, unlike when a null selector is loaded: 64-bit code still uses that of FS and GS
        commit(cpu, name, 0, cpu.a.seg[name].base, 0, ATTR_NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_segments(cpu: CpuP) -> cython.void:
    drop_segment(cpu, ES)
    drop_segment(cpu, DS)
    drop_segment(cpu, FS)
    drop_segment(cpu, GS)
