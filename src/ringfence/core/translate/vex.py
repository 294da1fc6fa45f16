"""Instructions with a VEX or EVEX prefix, copied: SDM vol. 2, 2.3 and 2.7.

The guest's prefix is kept but for the bits that name registers: R, X, B and vvvv. With an opmask the
whole operand must pass the probe; else the interpreter finds out which elements may fault.
"""

import cython
from cython.cimports.libc.stdint import uint8_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.translate.builder import BuilderP, is_in_memory
from cython.cimports.ringfence.core.translate.copy import finish_flags, prepare_flags
from cython.cimports.ringfence.core.translate.encode import (
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    OperandP,
    memory_operand,
    put8,
    put_lea,
    put_modrm,
    register_operand,
    rex_bits,
)
from cython.cimports.ringfence.core.translate.lowering import LOWERING_ALIGNED, ROLE_WRITE, LoweringP
from cython.cimports.ringfence.core.translate.operand import load_in_place, operand_bytes, store_in_place
from cython.cimports.ringfence.core.translate.probe import can_probe, put_probe
from cython.cimports.ringfence.core.translate.vex import Prefix, PrefixP
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_prefix(b: BuilderP, prefix: PrefixP) -> cython.void:
    """The guest's prefix as the three-byte VEX or the EVEX form."""
    raw: cython.pointer(cython.const[uint8_t]) = b.code + b.i.offset
    # SAFETY: the decoder has found the prefix within the instruction's bytes
    while raw[0] != 0xC4 and raw[0] != 0xC5 and raw[0] != 0x62:
        raw += 1
    prefix.escape = raw[0]
    if raw[0] == 0xC5:
        prefix.escape = 0xC4
        prefix.payload[0] = raw[1] & 0x80 | 0x61
        prefix.payload[1] = raw[1] & 0x7F
        raw += 2
    elif raw[0] == 0xC4:
        memcpy(prefix.payload, raw + 1, 2)
        raw += 3
    else:
        memcpy(prefix.payload, raw + 1, 3)
        raw += 4
    prefix.opcode = raw[0]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_copy_vex(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    info: EntryInfoP = entry_info(i.entry)
    prefix: Prefix
    reg: cython.int = info.digit if info.digit >= 0 else cython.cast(cython.int, i.reg)
    vvvv: cython.int = i.vvvv
    size: cython.int
    spilled: cython.int = (low.reg != 0 and is_in_memory(b, reg)) + (low.vvvv != 0 and is_in_memory(b, vvvv))
    target: Operand
    read_prefix(b, cython.address(prefix))
    if not info.has_modrm & 1:
        put8(e, prefix.escape)
        put8(e, prefix.payload[0])
        put8(e, prefix.payload[1])
        put8(e, prefix.opcode)
        return True
    if i.attr & INSTR_MEMORY:
        if spilled > 1 or not can_probe(b):
            return False
        size = operand_bytes(i, low)
        target = put_probe(b, size, low.memory & ROLE_WRITE, size if low.attr & LOWERING_ALIGNED else 0)
        if spilled and target.index == b.s0:
            put_lea(e, FORM_W, b.s1, target.base, b.s0, 0, target.disp)
            b.is_s1_used = 1
            target = memory_operand(b.s1, NO_REG, 0, 0)
        put_with_prefix(b, low, cython.address(prefix), cython.address(target), reg, vvvv, b.s0)
        return True
    if low.rm and is_in_memory(b, i.rm):
        if spilled > 1:
            return False
        target = register_operand(load_in_place(b, i.rm, low.rm, False, b.s1))
        put_with_prefix(b, low, cython.address(prefix), cython.address(target), reg, vvvv, b.s0)
        return True
    target = register_operand(i.rm)
    put_with_prefix(b, low, cython.address(prefix), cython.address(target), reg, vvvv, b.s1)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_with_prefix(
    b: BuilderP, low: LoweringP, prefix: PrefixP, target: OperandP, reg: cython.int, vvvv: cython.int,
    scratch_vvvv: cython.int,
) -> cython.void:  # fmt: skip
    e: EmitterP = cython.address(b.e)
    info: EntryInfoP = entry_info(b.i.entry)
    host: cython.int = load_in_place(b, reg, low.reg, False, b.s0)
    host_vvvv: cython.int = load_in_place(b, vvvv, low.vvvv, False, scratch_vvvv)
    rex: cython.int
    prepare_flags(b, low)
    rex = rex_bits(host, target)
    if target.is_memory or low.rm:
        # X and B name the operand's registers
        prefix.payload[0] = prefix.payload[0] & ~0x60 | (~rex & 3) << 5
    if low.reg:
        prefix.payload[0] = prefix.payload[0] & ~0x80 | (~rex & 4) << 5
    if low.vvvv:
        prefix.payload[1] = prefix.payload[1] & 0x87 | (~host_vvvv & 15) << 3
    put8(e, prefix.escape)
    put8(e, prefix.payload[0])
    put8(e, prefix.payload[1])
    if prefix.escape == 0x62:
        put8(e, prefix.payload[2])
    put8(e, prefix.opcode)
    e.is_evex = prefix.escape == 0x62
    put_modrm(e, host, target)
    e.is_evex = 0
    if info.imm_kind:
        # SAFETY: its last byte
        put8(e, (b.code + b.i.offset + b.i.length - 1)[0])
    store_in_place(b, vvvv, low.vvvv, host_vvvv)
    store_in_place(b, reg, low.reg, b.s0)
    store_in_place(b, b.i.rm, 0 if target.is_memory else low.rm, b.s1)
    finish_flags(b, low)
