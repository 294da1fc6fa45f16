"""Privileged and sensitive instructions that only read or exchange registers of the context: SDM vol. 2.

SWAPGS; MOV from segment and control registers, SMSW, STR, SLDT. In ring 0 they can't fault; outside it
only MOV from a segment register is done here.
"""

import cython
from cython.cimports.ringfence.core.translate.builder import BuilderP, guest_register, is_in_memory
from cython.cimports.ringfence.core.translate.eflags import is_supervisor
from cython.cimports.ringfence.core.translate.encode import (
    FORM_W,
    EmitterP,
    Operand,
    absolute,
    put_load,
    put_op,
    put_store,
)
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.state import GS, INSTR_MEMORY, LDTR, TR


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_swap_base(b: BuilderP) -> cython.bint:
    e: EmitterP = cython.address(b.e)
    if not is_supervisor(b):
        return False
    b.is_s1_used = 1
    put_load(e, b.s0, cython.address(b.cpu.a.seg[GS].base))
    put_load(e, b.s1, cython.address(b.cpu.a.msr.kernel_gs_base))
    put_store(e, b.s1, cython.address(b.cpu.a.seg[GS].base))
    put_store(e, b.s0, cython.address(b.cpu.a.msr.kernel_gs_base))
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_read(b: BuilderP, form: cython.int, opcode: cython.int, field: cython.p_void) -> cython.void:
    """ModRM.rm's register = a field of the context."""
    source: Operand = absolute(field)
    if is_in_memory(b, b.i.rm):
        put_op(cython.address(b.e), form, opcode, b.s0, cython.address(source))
        put_store(cython.address(b.e), b.s0, guest_register(b, b.i.rm))
    else:
        put_op(cython.address(b.e), form, opcode, b.i.rm, cython.address(source))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_read_selector(b: BuilderP) -> cython.bint:
    """MOV from a segment register, STR, SLDT."""
    name: cython.int = (b.i.modrm >> 3) & 7
    if b.i.attr & INSTR_MEMORY or b.i.width < 2:
        return False
    if entry_info(b.i.entry).map == 1:
        # SLDT is 0F 00 /0, STR is /1; CR4.UMIP may keep them from the user
        if not b.is_64 or not is_supervisor(b):
            return False
        name = TR if name else LDTR
    elif name > 5:
        return False
    put_read(b, 0, 0x1B7, cython.address(b.cpu.a.seg[name].selector))
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_read_control(b: BuilderP) -> cython.bint:
    """MOV from CR0, CR2, CR3, CR4; SMSW."""
    field: cython.p_void = cython.address(b.cpu.a.cr0)
    if not b.is_64 or not is_supervisor(b):
        return False
    if entry_info(b.i.entry).opcode == 0x20:
        if b.i.reg == 2:
            field = cython.address(b.cpu.a.cr2)
        elif b.i.reg == 3:
            field = cython.address(b.cpu.a.cr3)
        elif b.i.reg == 4:
            field = cython.address(b.cpu.a.cr4)
        elif b.i.reg:
            return False
        put_read(b, FORM_W, 0x8B, field)
        return True
    if b.i.attr & INSTR_MEMORY or b.i.width < 2:
        return False
    put_read(b, FORM_W if b.i.width == 3 else 0, 0x8B, field)
    return True
