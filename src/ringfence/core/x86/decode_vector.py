"""VEX and EVEX: what they ask of registers, lengths and masks. SDM vol. 2, 2.3.5 and 2.7."""

import cython
from cython.cimports.libc.stdint import int64_t
from cython.cimports.ringfence.core.x86.decode_table import (
    ELEMENT_SCALAR,
    FIELD_IMM,
    FIELD_REG,
    FIELD_RM,
    FIELD_VVVV,
    KIND_GENERAL,
    KIND_MASK,
    KIND_VECTOR,
    VECTOR_LIG,
    VECTOR_MASKED,
    VECTOR_ROUND,
    VECTOR_SAE,
    VECTOR_TUPLE1,
    VECTOR_VSIB,
    EntryInfoP,
)
from cython.cimports.ringfence.core.x86.decode_vector import (
    VEX_B,
    VEX_LENGTH_SHIFT,
    VEX_MASK_SHIFT,
    VEX_ROUND_SHIFT,
    VEX_ZEROING,
    memory_bytes,
)
from cython.cimports.ringfence.core.x86.scan import ScanP
from cython.cimports.ringfence.core.x86.state import INSTR_MEMORY, InstrP


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def kind_of(e: EntryInfoP, field: cython.int) -> cython.int:
    return e.kinds >> 2 * field & 3


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def may_zero(e: EntryInfoP, i: InstrP) -> cython.bint:
    """Zeroing needs a vector register as destination; gathers always merge."""
    if e.vector & VECTOR_VSIB or (e.target == FIELD_RM and i.attr & INSTR_MEMORY):
        return False
    return kind_of(e, e.target) == KIND_VECTOR


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_evex(s: ScanP, e: EntryInfoP, i: InstrP) -> cython.bint:
    """EVEX.b, aaa and z where the instruction has no use for them are undefined."""
    if s.evex_b:
        if i.attr & INSTR_MEMORY:
            if not e.broadcast:
                return False
        elif not e.vector & (VECTOR_ROUND | VECTOR_SAE):
            return False
    if s.opmask:
        if not e.element:
            return False
    elif s.zeroing or e.vector & VECTOR_MASKED:
        return False
    return not s.zeroing or may_zero(e, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_registers(s: ScanP, e: EntryInfoP, i: InstrP) -> cython.bint:
    """Numbers with all their bits. EVEX and vvvv must name one of eight opmasks; VEX.R and B are ignored."""
    is_memory: cython.bint = i.attr & INSTR_MEMORY != 0
    if kind_of(e, FIELD_REG) == KIND_VECTOR:
        i.reg |= s.reg_high
    elif kind_of(e, FIELD_REG) == KIND_MASK:
        if s.vex == 2 and i.reg | s.reg_high > 7:
            return False
        i.reg &= 7
    elif kind_of(e, FIELD_REG) == KIND_GENERAL and s.reg_high:
        return False
    if kind_of(e, FIELD_VVVV) == KIND_MASK and i.vvvv > 7:
        return False
    if not is_memory:
        if kind_of(e, FIELD_RM) == KIND_MASK:
            i.rm &= 7
        elif kind_of(e, FIELD_RM) == KIND_VECTOR and s.vex == 2:
            i.rm |= (s.rex & 2) << 3
    if not s.is_64:
        if kind_of(e, FIELD_IMM):
            i.imm &= 0x7F
        if kind_of(e, FIELD_REG) != KIND_GENERAL:
            i.reg &= 7
        if e.vector & VECTOR_VSIB or not is_memory:
            i.rm &= 7
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def disp8_bytes(s: ScanP, e: EntryInfoP, i: InstrP) -> cython.int:
    """The unit of an 8-bit displacement: SDM vol. 2, 2.7.5."""
    if s.evex_b:
        return 1 << (e.broadcast - 1)
    if e.vector & VECTOR_TUPLE1 and e.element != ELEMENT_SCALAR:
        return 1 << (e.element - 1)
    return memory_bytes(e, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def finish_vector(s: ScanP, e: EntryInfoP, i: InstrP) -> cython.bint:
    length: cython.int = s.length
    if s.vex == 2:
        if not check_evex(s, e, i):
            return False
        if s.evex_b and not i.attr & INSTR_MEMORY:
            length = 2
    if e.vector & VECTOR_LIG:
        length = 0
    if e.vector & VECTOR_VSIB and (s.modrm & 7 != 4 or i.asize == 2):
        return False
    i.imm &= 0xFF
    if not set_registers(s, e, i):
        return False
    i.imm |= cython.cast(int64_t, length << VEX_LENGTH_SHIFT | s.opmask << VEX_MASK_SHIFT)
    if s.zeroing:
        i.imm |= VEX_ZEROING
    if s.evex_b:
        i.imm |= VEX_B | s.length << VEX_ROUND_SHIFT
    if s.vex == 2 and i.attr & INSTR_MEMORY and s.modrm >> 6 == 1:
        i.disp *= disp8_bytes(s, e, i)
    return True
