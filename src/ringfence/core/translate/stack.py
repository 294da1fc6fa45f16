"""Stack instructions: SDM vol. 1, 6.2. RSP moves only after the access went through."""

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.ringfence.core.translate.builder import BuilderP, guest_register, is_in_memory
from cython.cimports.ringfence.core.translate.encode import (
    FORM_66,
    FORM_W,
    NO_REG,
    EmitterP,
    Operand,
    is_int32,
    put16,
    put32,
    put_constant,
    put_lea,
    put_load,
    put_move,
    put_op,
    put_store,
)
from cython.cimports.ringfence.core.translate.probe import can_probe, put_probe, put_probe_at
from cython.cimports.ringfence.core.translate.relocation import (
    RELOC_ADDRESS,
    WIDTH_LOW,
    WIDTH_SIGNED,
    note_reloc,
    put_moving_constant,
)
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, MODE_FLAT, RBP, RSP, InstrP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def can_stack(b: BuilderP) -> cython.bint:
    """64-bit code, or a flat stack of 32 bits."""
    return b.is_64 or (b.is_stack32 and b.cpu.mode & MODE_FLAT != 0)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def form_of_width(width: cython.int) -> cython.int:
    return FORM_W if width == 3 else FORM_66 if width == 1 else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_adjust_stack(b: BuilderP, base: cython.int, amount: cython.int) -> cython.void:
    """RSP = base + amount in the stack's width; no flag changes."""
    put_lea(cython.address(b.e), FORM_W if b.is_64 else 0, RSP, base, NO_REG, 0, amount)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_push_register(b: BuilderP, reg: cython.int) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    size: cython.int = 1 << b.i.width
    slot: Operand
    if not can_stack(b):
        return False
    slot = put_probe_at(b, RSP, -size, size, 1)
    if is_in_memory(b, reg):
        # 64-bit code only, where the slot is RSP + s1 - size
        put_load(e, b.s0, guest_register(b, reg))
        reg = b.s0
    put_op(e, form_of_width(b.i.width), 0x89, reg, cython.address(slot))
    put_adjust_stack(b, RSP, -size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_push_address(b: BuilderP, rip: uint64_t) -> cython.bint:
    """A return address: another for the same code elsewhere."""
    e: EmitterP = cython.address(b.e)
    slot: Operand
    size: cython.int = 8 if b.is_64 else 4
    if not can_stack(b):
        return False
    slot = put_probe_at(b, RSP, -size, size, 1)
    if b.is_64 and not is_int32(cython.cast(int64_t, rip)):
        put_moving_constant(b, b.s0, RELOC_ADDRESS, rip)
        put_op(e, FORM_W, 0x89, b.s0, cython.address(slot))
    else:
        put_op(e, FORM_W if b.is_64 else 0, 0xC7, 0, cython.address(slot))
        put32(e, cython.cast(int64_t, rip))
        note_reloc(b, RELOC_ADDRESS, WIDTH_SIGNED if b.is_64 else WIDTH_LOW, rip)
    put_adjust_stack(b, RSP, -size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_push_immediate(b: BuilderP, value: uint64_t) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    size: cython.int = 1 << b.i.width
    slot: Operand
    if not can_stack(b):
        return False
    slot = put_probe_at(b, RSP, -size, size, 1)
    if size == 8 and not is_int32(cython.cast(int64_t, value)):
        put_constant(e, b.s0, value)
        put_op(e, FORM_W, 0x89, b.s0, cython.address(slot))
    else:
        put_op(e, form_of_width(b.i.width), 0xC7, 0, cython.address(slot))
        if size == 2:
            put16(e, cython.cast(cython.int, value))
        else:
            put32(e, cython.cast(int64_t, value))
    put_adjust_stack(b, RSP, -size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_push_operand(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    i: InstrP = b.i
    size: cython.int = 1 << i.width
    form: cython.int = form_of_width(i.width)
    slot: Operand
    if not i.attr & INSTR_MEMORY:
        return put_push_register(b, i.rm)
    if not can_stack(b) or not can_probe(b):
        return False
    slot = put_probe(b, size, 0, 0)
    put_op(e, form, 0x8B, b.s0, cython.address(slot))
    put_store(e, b.s0, cython.address(b.cpu.spare[0]))
    slot = put_probe_at(b, RSP, -size, size, 1)
    if not b.is_64:
        # both scratch registers name the slot
        put_lea(e, FORM_W, b.s1, b.s1, b.s0, 0, 0)
        slot.base, slot.index = b.s1, NO_REG
    put_load(e, b.s0, cython.address(b.cpu.spare[0]))
    put_op(e, form, 0x89, b.s0, cython.address(slot))
    put_adjust_stack(b, RSP, -size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_pop_register(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    size: cython.int = 1 << b.i.width
    reg: cython.int = b.i.vvvv
    slot: Operand
    if not can_stack(b) or (reg == RSP and size == 2) or (is_in_memory(b, reg) and size != 8):
        return False
    slot = put_probe_at(b, RSP, 0, size, 0)
    if reg == RSP:
        # what is popped is the new stack pointer
        put_op(e, form_of_width(b.i.width), 0x8B, RSP, cython.address(slot))
        return True
    if is_in_memory(b, reg):
        put_op(e, FORM_W, 0x8B, b.s0, cython.address(slot))
        put_store(e, b.s0, guest_register(b, reg))
    else:
        put_op(e, form_of_width(b.i.width), 0x8B, reg, cython.address(slot))
    put_adjust_stack(b, RSP, size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_leave_frame(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    size: cython.int = 1 << b.i.width
    slot: Operand
    if not can_stack(b) or size != (8 if b.is_64 else 4):
        return False
    slot = put_probe_at(b, RBP, 0, size, 0)
    put_op(e, form_of_width(b.i.width), 0x8B, b.s0, cython.address(slot))
    put_adjust_stack(b, RBP, size)
    put_move(e, RBP, b.s0)
    return True
