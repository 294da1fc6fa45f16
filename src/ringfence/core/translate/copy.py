"""Instructions that run on the host as they are: SDM vol. 2.

Registers keep their numbers, except guest registers that live in memory: those pass through a scratch
register. A memory operand is replaced by what the probe found.
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.ringfence.core.translate.builder import (
    FLAGS_IN_HOST,
    BuilderP,
    fetch_register,
    guest_register,
    is_in_memory,
)
from cython.cimports.ringfence.core.translate.encode import (
    FORM_NO_REX,
    FORM_REX,
    FORM_W,
    NO_BASE,
    NO_REG,
    EmitterP,
    Operand,
    memory_operand,
    put8,
    put16,
    put32,
    put64,
    put_constant,
    put_lea,
    put_op,
    put_prefixes,
    put_rr,
    put_store,
    register_operand,
)
from cython.cimports.ringfence.core.translate.flags_state import restore_flags
from cython.cimports.ringfence.core.translate.lowering import (
    LOWERING_ALIGNED,
    ROLE_WRITE,
    LoweringP,
)
from cython.cimports.ringfence.core.translate.operand import (
    byte_register_number,
    form_of,
    immediate_bytes,
    is_high_byte,
    load_in_place,
    operand_bytes,
    put_immediate,
    store_in_place,
)
from cython.cimports.ringfence.core.translate.probe import can_probe, put_probe, put_probe_offset
from cython.cimports.ringfence.core.translate.relocation import (
    RELOC_ADDRESS,
    WIDTH_LOW,
    note_reloc,
    put_moving_constant,
)
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.decode_table import EntryInfoP
from cython.cimports.ringfence.core.x86.state import (
    BLOCK_RIP,
    EA_FLAT32,
    EA_FLAT64,
    INSTR_MEMORY,
    RAX,
    ZERO,
    InstrP,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def prepare_flags(b: BuilderP, low: LoweringP) -> cython.void:
    """What the instruction reads or leaves alone of the flags must be in the host's."""
    kept: cython.int = b.live_out[b.index] & ~b.kills[b.index] if low.modifies else 0
    restore_flags(b, low.reads, kept)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def finish_flags(b: BuilderP, low: LoweringP) -> cython.void:
    if low.modifies:
        b.flags = FLAGS_IN_HOST


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_copy(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    info: EntryInfoP = entry_info(i.entry)
    form: cython.int = form_of(i, info, low)
    # 82 is 80 once more, and gone from 64-bit code
    opcode: cython.int = info.map << 8 | (0x80 if info.opcode == 0x82 and info.map == 0 else info.opcode)
    reg_is_byte: cython.bint = info.byte_registers & 1 != 0
    rm_is_byte: cython.bint = info.byte_registers & 2 != 0
    reg: cython.int = i.reg
    rm: cython.int = i.rm
    host: cython.int
    target: Operand
    if info.has_exact or info.digit >= 0:
        reg = (i.modrm >> 3) & 7
    elif reg_is_byte:
        if is_high_byte(reg):
            form |= FORM_NO_REX
        reg = byte_register_number(reg)
        if reg >= 4:
            form |= FORM_REX
    if i.attr & INSTR_MEMORY:
        if form & FORM_NO_REX or not can_probe(b):
            return False
        target = put_probe(
            b, operand_bytes(i, low), low.memory & ROLE_WRITE, 16 if low.attr & LOWERING_ALIGNED else 0
        )
        if is_in_memory(b, reg) and low.reg and target.index == b.s0:
            put_lea(e, FORM_W, b.s1, target.base, b.s0, 0, target.disp)
            b.is_s1_used = 1
            target = memory_operand(b.s1, NO_REG, 0, 0)
        host = load_in_place(b, reg, low.reg, reg_is_byte, b.s0)
        prepare_flags(b, low)
        put_op(e, form, opcode, host, cython.address(target))
        put_immediate(b, immediate_bytes(i, info))
        store_in_place(b, reg, low.reg, b.s0)
        finish_flags(b, low)
        return True
    if info.has_exact:
        rm = i.modrm & 7
    elif rm_is_byte:
        if is_high_byte(rm):
            form |= FORM_NO_REX
        rm = byte_register_number(rm)
        if rm >= 4:
            form |= FORM_REX
    if form & FORM_NO_REX:
        # registers in memory have numbers above 7, and the guest could not name them here either
        form &= ~FORM_REX
    target = register_operand(load_in_place(b, rm, low.rm, rm_is_byte, b.s1))
    host = load_in_place(b, reg, low.reg, reg_is_byte, b.s0)
    prepare_flags(b, low)
    put_op(e, form, opcode, host, cython.address(target))
    put_immediate(b, immediate_bytes(i, info))
    # XADD of a register with itself: the destination's value stays
    store_in_place(b, reg, low.reg, b.s0)
    store_in_place(b, rm, low.rm, b.s1)
    finish_flags(b, low)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_raw(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    info: EntryInfoP = entry_info(b.i.entry)
    prepare_flags(b, low)
    put_prefixes(e, form_of(b.i, info, low), 0)
    put8(e, info.opcode)
    put_immediate(b, immediate_bytes(b.i, info))
    finish_flags(b, low)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_low_register(b: BuilderP, low: LoweringP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    info: EntryInfoP = entry_info(i.entry)
    form: cython.int = form_of(i, info, low)
    is_byte: cython.bint = info.byte_registers & 4 != 0
    reg: cython.int = i.vvvv
    host: cython.int
    if is_byte:
        if is_high_byte(reg):
            form |= FORM_NO_REX
        elif reg >> 3 >= 4:
            form |= FORM_REX
        reg = byte_register_number(reg)
    host = load_in_place(b, reg, low.low, is_byte, b.s0)
    prepare_flags(b, low)
    if info.map == 0 and info.opcode & 0xF0 == 0x40:
        # INC and DEC in one byte are REX prefixes here
        put_rr(e, form, 0xFF, (info.opcode >> 3) & 1, host)
    else:
        put_prefixes(e, form, (host & 8) >> 3)
        if info.map == 1:
            put8(e, 0x0F)
        put8(e, info.opcode | host & 7)
        if info.imm_kind == 4:
            if i.width == 1:
                put16(e, cython.cast(cython.int, i.imm))
            elif i.width == 2:
                put32(e, i.imm)
            else:
                put64(e, i.imm)
        elif info.imm_kind:
            put8(e, cython.cast(cython.int, i.imm))
    store_in_place(b, reg, low.low, b.s0)
    finish_flags(b, low)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_lea_copy(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    to: cython.int = b.s0 if is_in_memory(b, i.reg) else i.reg
    base: cython.int = NO_REG if i.base == ZERO else cython.cast(cython.int, i.base)
    index: cython.int = NO_REG if i.index == ZERO else cython.cast(cython.int, i.index)
    form: cython.int = 0
    v: uint64_t
    if i.width == 1 or i.asize == 2 or (i.base == BLOCK_RIP and i.asize != 8):
        return False
    if i.width == 3 and i.asize == 8:
        form = FORM_W
    if i.base == BLOCK_RIP:
        v = b.out.rip + cython.cast(uint64_t, cython.cast(int64_t, i.disp))
        if i.width == 3:
            put_moving_constant(b, to, RELOC_ADDRESS, v)
        else:
            put_constant(e, to, cython.cast(cython.uint, v))
            note_reloc(b, RELOC_ADDRESS, WIDTH_LOW, v)
    else:
        if base != NO_REG:
            base = fetch_register(b, base, b.s0)
        if index != NO_REG:
            index = fetch_register(b, index, b.s1)
        put_lea(e, form, to, NO_BASE if base == NO_REG else base, index, i.scale, i.disp)
    if is_in_memory(b, i.reg):
        put_store(e, b.s0, guest_register(b, i.reg))
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_offset_move(b: BuilderP, low: LoweringP) -> cython.bint:
    """MOV between the accumulator and an absolute offset."""
    i: InstrP = b.i
    info: EntryInfoP = entry_info(i.entry)
    target: Operand
    if i.ea_form != EA_FLAT64 and i.ea_form != EA_FLAT32:
        return False
    target = put_probe_offset(b, i.imm, 1 << i.width, low.memory & ROLE_WRITE)
    # A0 A1 A2 A3 become 8A 8B 88 89
    put_op(
        cython.address(b.e), form_of(i, info, low), (info.opcode & 1 | 0x8A) ^ (info.opcode & 2), RAX,
        cython.address(target),
    )  # fmt: skip
    return True
