"""What in a translation's code depends on where it lies, and on its RIP: so that it can be used again.

A translation is copied for another RIP (`replica.py`), and comes out of the cache on disk (`stored.py`).
Its code names four things outside itself, noted as it is emitted:

    the context and its own records     by 32-bit addresses (`note_field` in encode.pxd)
    the routines of its register map    by relative jumps
    guest addresses near its RIP        as constants: targets, return addresses, operands
    entries of TLB and jump cache       by those guest addresses
"""

import cython
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.translate.builder import RELOC_LIMIT, BuilderP
from cython.cimports.ringfence.core.translate.encode import is_int32, put_constant
from cython.cimports.ringfence.core.translate.relocation import (
    RELOC_ADDRESS,
    RELOC_CALLOUT,
    RELOC_JUMP_HOST,
    RELOC_JUMP_TAG,
    RELOC_LEAVE,
    RELOC_PAGE,
    RELOC_READ_PAGE,
    RELOC_READ_TAG,
    RELOC_TAG,
    RELOC_WRITE_TAG,
    WIDTH_64,
    WIDTH_LOW,
    WIDTH_SIGNED,
    WIDTH_UNSIGNED,
)
from cython.cimports.ringfence.core.translate.translation import Reloc, TranslationP, TranslatorP
from cython.cimports.ringfence.core.x86.state import (
    MODE_CODE64,
    MODE_CODE_MASK,
    TLB_ENTRIES,
    CpuP,
    HostJump,
    TlbEntry,
    host_jump_of,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def value_of(cpu: CpuP, kind: cython.int, v: uint64_t) -> uint64_t:
    entry: cython.pointer(TlbEntry)
    jump: cython.pointer(HostJump)
    if kind == RELOC_ADDRESS:
        return v
    if kind == RELOC_TAG:
        return v << 16
    if kind == RELOC_PAGE:
        return v & ~cython.cast(uint64_t, 0xFFF)
    if kind == RELOC_JUMP_TAG or kind == RELOC_JUMP_HOST:
        jump = cython.address(cpu.host_jumps[host_jump_of(v)])
        if kind == RELOC_JUMP_TAG:
            return cython.cast(uint64_t, cython.address(jump.tag))
        return cython.cast(uint64_t, cython.address(jump.host))
    entry = cpu.tlb_read if kind <= RELOC_READ_PAGE else cpu.tlb_write
    entry += (v >> 12) & (TLB_ENTRIES - 1)
    if kind == RELOC_READ_TAG or kind == RELOC_WRITE_TAG:
        return cython.cast(uint64_t, cython.address(entry.tag))
    return cython.cast(uint64_t, cython.address(entry.host_page))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note_reloc(b: BuilderP, kind: cython.int, width: cython.int, v: uint64_t) -> cython.void:
    reloc: cython.pointer(Reloc) = cython.address(b.relocs[b.reloc_count])
    distance: int64_t = cython.cast(int64_t, v - b.out.rip)
    if b.reloc_count == RELOC_LIMIT - 1 or (b.is_64 and not is_int32(distance)):
        b.out.is_movable = 0
        return
    reloc.at = b.e.at - b.e.begin - (8 if width == WIDTH_64 else 4)
    reloc.kind = kind
    reloc.width = width
    reloc.distance = cython.cast(int32_t, distance)
    b.reloc_count += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note_routine(b: BuilderP, kind: cython.int) -> cython.void:
    note_reloc(b, kind, WIDTH_LOW, b.out.rip)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_moving_constant(b: BuilderP, reg: cython.int, kind: cython.int, v: uint64_t) -> cython.void:
    value: uint64_t = value_of(b.cpu, kind, v)
    width: cython.int = WIDTH_64
    put_constant(cython.address(b.e), reg, value)
    if value == cython.cast(uint32_t, value):
        width = WIDTH_UNSIGNED
    elif is_int32(cython.cast(int64_t, value)):
        width = WIDTH_SIGNED
    note_reloc(b, kind, width, v)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_fields(
    cpu: CpuP, out: TranslationP, code: cython.pointer(uint8_t), old_data: uint64_t, old_cpu: uint64_t
) -> cython.void:
    """Addresses in the context and in the translation's own records."""
    k: cython.uint
    field: cython.pointer(uint32_t)
    for k in range(out.field_count):
        field = cython.cast(cython.pointer(uint32_t), code + out.fields[k])
        if field[0] - old_data < out.data_bytes:
            field[0] += cython.cast(uint32_t, cython.cast(uint64_t, out) - old_data)
        else:
            field[0] += cython.cast(uint32_t, cython.cast(uint64_t, cpu) - old_cpu)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def relocate(
    cpu: CpuP,
    t: TranslatorP,
    out: TranslationP,
    code: cython.pointer(uint8_t),
    old_data: uint64_t,
    old_cpu: uint64_t,
) -> cython.bint:
    k: cython.uint
    reloc: cython.pointer(Reloc)
    at: cython.pointer(uint8_t)
    value: uint64_t
    is_64: cython.bint = (out.context & MODE_CODE_MASK) == MODE_CODE64
    move_fields(cpu, out, code, old_data, old_cpu)
    for k in range(out.reloc_count):
        reloc = cython.address(out.relocs[k])
        # SAFETY: noted when the field was emitted, within the translation's code
        at = code + reloc.at
        if reloc.kind == RELOC_LEAVE or reloc.kind == RELOC_CALLOUT:
            value = t.leave[out.map] if reloc.kind == RELOC_LEAVE else t.callout[out.map]
            value -= out.entry + reloc.at + 4
        else:
            value = out.rip + cython.cast(uint64_t, cython.cast(int64_t, reloc.distance))
            value = value_of(cpu, reloc.kind, value if is_64 else cython.cast(uint32_t, value))
        if reloc.width == WIDTH_64:
            cython.cast(cython.pointer(uint64_t), at)[0] = value
            continue
        if reloc.width == WIDTH_UNSIGNED and value != cython.cast(uint32_t, value):
            return False
        if reloc.width == WIDTH_SIGNED and not is_int32(cython.cast(int64_t, value)):
            return False
        cython.cast(cython.pointer(uint32_t), at)[0] = cython.cast(uint32_t, value)
    return True
