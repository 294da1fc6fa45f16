"""Instructions with a VEX prefix, copied: SDM vol. 2, 2.3.

The guest's prefix is kept but for the bits that name registers: R, X, B and vvvv.
"""

import cython
from cython.cimports.libc.stdint import uint8_t
from cython.cimports.ringfence.core.translate.builder import BuilderP, is_in_memory
from cython.cimports.ringfence.core.translate.copy import finish_flags, prepare_flags
from cython.cimports.ringfence.core.translate.encode import (
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    memory_operand,
    put8,
    put_lea,
    put_modrm,
    register_operand,
    rex_bits,
)
from cython.cimports.ringfence.core.translate.lowering import LOWERING_ALIGNED, ROLE_WRITE, LoweringP
from cython.cimports.ringfence.core.translate.operand import (
    immediate_bytes,
    load_in_place,
    operand_bytes,
    put_immediate,
    store_in_place,
)
from cython.cimports.ringfence.core.translate.probe import can_probe, put_probe
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_copy_vex(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    info: EntryInfoP = entry_info(i.entry)
    raw: cython.pointer(cython.const[uint8_t]) = b.code + i.offset
    reg: cython.int = info.digit if info.digit >= 0 else i.reg
    vvvv: cython.int = i.vvvv
    reg_role: cython.int = low.reg
    maps: cython.int = 1
    last: cython.int
    spilled: cython.int = 0
    target: Operand
    # SAFETY: the decoder has found a VEX prefix within the instruction's bytes
    while raw[0] != 0xC4 and raw[0] != 0xC5:
        raw += 1
    last = raw[1]
    if raw[0] == 0xC4:
        maps = raw[1] & 31
        last = raw[2]
    else:
        last &= 0x7F
    spilled = (
        (reg_role != 0 and is_in_memory(b, reg))
        + (low.vvvv != 0 and is_in_memory(b, vvvv))
    )
    if i.attr & INSTR_MEMORY:
        if spilled > 1 or not can_probe(b):
            return False
        target = put_probe(b, operand_bytes(i, low), low.memory & ROLE_WRITE, low.size if low.attr & LOWERING_ALIGNED else 0)
        if spilled and target.index == b.s0:
            put_lea(e, FORM_W, b.s1, target.base, b.s0, 0, target.disp)
            b.is_s1_used = 1
            target = memory_operand(b.s1, NO_REG, 0, 0)
        return finish_vex(b, low, cython.address(target), reg, vvvv, maps, last, b.s0, b.s0)
    if low.rm and is_in_memory(b, i.rm):
        if spilled > 1:
            return False
        target = register_operand(load_in_place(b, i.rm, low.rm, False, b.s1))
        return finish_vex(b, low, cython.address(target), reg, vvvv, maps, last, b.s0, b.s0)
    target = register_operand(i.rm)
    return finish_vex(b, low, cython.address(target), reg, vvvv, maps, last, b.s0, b.s1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def finish_vex(
    b: BuilderP, low: LoweringP, target: cython.pointer(Operand), reg: cython.int, vvvv: cython.int,
    maps: cython.int, last: cython.int, scratch_reg: cython.int, scratch_vvvv: cython.int,
) -> cython.bint:  # fmt: skip
    e: EmitterP = cython.address(b.e)
    host: cython.int = load_in_place(b, reg, low.reg, False, scratch_reg)
    host_vvvv: cython.int = load_in_place(b, vvvv, low.vvvv, False, scratch_vvvv)
    rex: cython.int
    prepare_flags(b, low)
    rex = rex_bits(host, target)
    put8(e, 0xC4)
    put8(e, (~rex & 7) << 5 | maps)
    if low.vvvv:
        last = last & 0x87 | (~host_vvvv & 15) << 3
    put8(e, last)
    put8(e, entry_info(b.i.entry).opcode)
    put_modrm(e, host, target)
    put_immediate(b, immediate_bytes(b.i, entry_info(b.i.entry)))
    if low.vvvv & ROLE_WRITE and is_in_memory(b, vvvv):
        store_in_place(b, vvvv, low.vvvv, host_vvvv)
    store_in_place(b, reg, low.reg, scratch_reg)
    store_in_place(b, b.i.rm, low.rm, b.s1)
    finish_flags(b, low)
    return True
