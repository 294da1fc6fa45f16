"""Instructions on segment registers and selectors: MOV PUSH POP Sreg, LxS, LAR LSL VERR VERW ARPL.

SDM vol. 2; vol. 3, 5.10 (pointer validation).
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.access import load, store
from cython.cimports.ringfence.core.x86.decode import entry_info
from cython.cimports.ringfence.core.x86.descriptor import (
    TYPE_CALL_GATE16,
    TYPE_CALL_GATE32,
    TYPE_LDT,
    TYPE_TASK_GATE,
    TYPE_TSS16,
    TYPE_TSS16_BUSY,
    TYPE_TSS32,
    TYPE_TSS32_BUSY,
    Descriptor,
    dpl_of,
    is_code,
    is_conforming,
    is_long,
    is_null,
    is_readable,
    is_system,
    is_writable_data,
    rpl_of,
    type_of,
)
from cython.cimports.ringfence.core.x86.faults import raise_ud
from cython.cimports.ringfence.core.x86.flags import set_zf
from cython.cimports.ringfence.core.x86.operands import (
    ea,
    get_reg,
    next_,
    peek,
    push,
    set_reg,
    stack_address,
    wrap_sp,
)
from cython.cimports.ringfence.core.x86.privilege import end_at_next
from cython.cimports.ringfence.core.x86.segments import load_segment, moved_sp, read_descriptor
from cython.cimports.ringfence.core.x86.state import CS, INSTR_MEMORY, RSP, SS, CpuP, InstrP


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def load_word(cpu: CpuP, i: InstrP) -> uint32_t:
    if i.attr & INSTR_MEMORY:
        return cython.cast(uint32_t, load(cpu, ea(cpu, i, 2, 0), 2))
    return cython.cast(uint32_t, get_reg(cpu, i.rm, 2))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def named_segment(i: InstrP) -> cython.int:
    """PUSH and POP: ES 06 07, CS 0E, SS 16 17, DS 1E 1F, FS 0F A0 A1, GS 0F A8 A9."""
    return (entry_info(i.entry).opcode >> 3) & 7


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def shadow_ss(cpu: CpuP) -> cython.void:
    """A load of SS holds back interrupts and #DB until the stack pointer is loaded too."""
    cpu.a.inhibit_irq = 1
    cpu.a.inhibit_db = 1
    cpu.attention = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mov_to_sreg(cpu: CpuP, i: InstrP) -> cython.void:
    name: cython.int = (i.modrm >> 3) & 7
    if name == CS or name > 5:
        raise_ud(cpu)
    load_segment(cpu, name, load_word(cpu, i))
    if name == SS:
        shadow_ss(cpu)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mov_from_sreg(cpu: CpuP, i: InstrP) -> cython.void:
    name: cython.int = (i.modrm >> 3) & 7
    if name > 5:
        raise_ud(cpu)
    if i.attr & INSTR_MEMORY:
        store(cpu, ea(cpu, i, 2, 1), cpu.a.seg[name].selector, 2)
    else:
        set_reg(cpu, i.rm, cpu.a.seg[name].selector, 1 << i.width)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def push_sreg(cpu: CpuP, i: InstrP) -> cython.void:
    """A 32-bit push moves ESP by 4 and writes 16 bits, as processors since the P6 do."""
    selector: uint64_t = cpu.a.seg[named_segment(i)].selector
    sp: uint64_t
    if i.width == 2:
        sp = moved_sp(cpu, -4)
        store(cpu, stack_address(cpu, wrap_sp(cpu, sp), 2, 1), selector, 2)
        cpu.a.regs[RSP] = sp
    else:
        push(cpu, selector, 1 << i.width)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pop_sreg(cpu: CpuP, i: InstrP) -> cython.void:
    name: cython.int = named_segment(i)
    selector: uint32_t = cython.cast(uint32_t, peek(cpu, 0, 2))
    rsp: uint64_t = moved_sp(cpu, 1 << i.width)
    load_segment(cpu, name, selector)
    cpu.a.regs[RSP] = rsp
    if name == SS:
        shadow_ss(cpu)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_far_pointer(cpu: CpuP, i: InstrP) -> cython.void:
    """LES C4, LDS C5, LSS 0F B2, LFS 0F B4, LGS 0F B5."""
    opcode: cython.int = entry_info(i.entry).opcode
    size: cython.int = 1 << i.width
    la: uint64_t = ea(cpu, i, size + 2, 0)
    offset: uint64_t = load(cpu, la, size)
    selector: uint32_t = cython.cast(uint32_t, load(cpu, la + size, 2))
    if opcode == 0xC4:
        load_segment(cpu, 0, selector)
    elif opcode == 0xC5:
        load_segment(cpu, 3, selector)
    else:
        load_segment(cpu, opcode & 7, selector)
    set_reg(cpu, i.reg, offset, size)
    end_at_next(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_rights(attr: uint32_t, is_lar: cython.bint, long_mode: cython.bint) -> cython.bint:
    """Does LAR (or LSL, which knows no gates) answer for a system descriptor of this type?"""
    kind: cython.int = type_of(attr)
    if kind == TYPE_LDT or kind == TYPE_TSS32 or kind == TYPE_TSS32_BUSY:
        return True
    if kind == TYPE_CALL_GATE32:
        return is_lar
    if long_mode:
        return False
    if kind == TYPE_TSS16 or kind == TYPE_TSS16_BUSY:
        return True
    return is_lar and (kind == TYPE_CALL_GATE16 or kind == TYPE_TASK_GATE)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_visible(
    cpu: CpuP, selector: uint32_t, d: cython.pointer(Descriptor), is_lar: cython.bint
) -> cython.bint:
    if is_null(selector) or not read_descriptor(cpu, selector, d):
        return False
    if is_system(d.attr):
        if not has_rights(d.attr, is_lar, is_long(cpu)):
            return False
    elif is_code(d.attr) and is_conforming(d.attr):
        return True
    return dpl_of(d.attr) >= cpu.a.cpl and dpl_of(d.attr) >= rpl_of(selector)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_lar(cpu: CpuP, i: InstrP) -> cython.void:
    d: Descriptor
    visible: cython.bint = is_visible(cpu, load_word(cpu, i), cython.address(d), True)
    if visible:
        set_reg(cpu, i.reg, d.high & 0xF0FF00, 1 << i.width)
    set_zf(cpu, visible)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_lsl(cpu: CpuP, i: InstrP) -> cython.void:
    d: Descriptor
    visible: cython.bint = is_visible(cpu, load_word(cpu, i), cython.address(d), False)
    if visible:
        set_reg(cpu, i.reg, d.limit, 1 << i.width)
    set_zf(cpu, visible)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_verify(cpu: CpuP, i: InstrP, is_write: cython.bint) -> cython.void:
    d: Descriptor
    selector: uint32_t = load_word(cpu, i)
    usable: cython.bint = False
    if not is_null(selector) and read_descriptor(cpu, selector, cython.address(d)):
        usable = is_writable_data(d.attr) if is_write else is_readable(d.attr)
        if not (is_code(d.attr) and is_conforming(d.attr)):
            usable = usable and dpl_of(d.attr) >= cpu.a.cpl and dpl_of(d.attr) >= rpl_of(selector)
    set_zf(cpu, usable)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lar(cpu: CpuP, i: InstrP) -> cython.void:
    do_lar(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lsl(cpu: CpuP, i: InstrP) -> cython.void:
    do_lsl(cpu, i)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def verr(cpu: CpuP, i: InstrP) -> cython.void:
    do_verify(cpu, i, False)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def verw(cpu: CpuP, i: InstrP) -> cython.void:
    do_verify(cpu, i, True)
    next_(cpu, i)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def arpl(cpu: CpuP, i: InstrP) -> cython.void:
    old: uint32_t
    rpl: uint32_t = get_reg(cpu, i.reg, 2) & 3
    adjusts: cython.bint
    if i.attr & INSTR_MEMORY:
        old = cython.cast(uint32_t, load(cpu, ea(cpu, i, 2, 0), 2))
        adjusts = (old & 3) < rpl
        # nothing is written, nor checked for writing, when the selector stays
        if adjusts:
            store(cpu, ea(cpu, i, 2, 1), (old & 0xFFFC) | rpl, 2)
    else:
        old = cython.cast(uint32_t, get_reg(cpu, i.rm, 2))
        adjusts = (old & 3) < rpl
        if adjusts:
            set_reg(cpu, i.rm, (old & 0xFFFC) | rpl, 2)
    set_zf(cpu, adjusts)
    next_(cpu, i)
