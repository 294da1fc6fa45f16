"""The processor's mode, derived from its registers: SDM vol. 3, chapters 2.2 and 20.

Called after every change of CPL, CR0, CR4, EFER, RFLAGS.VM/AC/TF, DR7 or a segment register's
descriptor: it recomputes what decoding depends on, the TLB view and the need to single-step.
"""

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.ringfence.core.x86.state import (
    AC,
    ATTR_CODE,
    ATTR_DB,
    ATTR_EXPAND_DOWN,
    ATTR_L,
    ATTR_NULL,
    ATTR_P,
    ATTR_S,
    ATTR_WRITABLE,
    CR0_AM,
    CR0_PE,
    CR4_SMAP,
    CS,
    DS,
    EFER_LMA,
    ES,
    MODE_CODE16,
    MODE_CODE32,
    MODE_CODE64,
    MODE_FLAT,
    MODE_PROTECTED,
    MODE_STACK32,
    MODE_USER,
    MODE_V86,
    SS,
    TF,
    VIEW_CHECKED,
    VIEW_SUPERVISOR,
    VIEW_SUPERVISOR_AC,
    VIEW_USER,
    VM,
    CpuP,
    set_jump_key,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_flat(cpu: CpuP, name: cython.int) -> cython.bint:
    """A writable data segment over the whole 4 GiB: no access through it can fail a check."""
    attr: uint32_t = cpu.a.seg[name].attr
    need: uint32_t = ATTR_P | ATTR_S | ATTR_WRITABLE
    refuse: uint32_t = ATTR_CODE | ATTR_EXPAND_DOWN | ATTR_NULL
    return (
        (attr & (need | refuse)) == need
        and cpu.a.seg[name].base == 0
        and cpu.a.seg[name].limit == cython.cast(uint32_t, 0xFFFFFFFF)
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refresh_mode(cpu: CpuP) -> cython.void:
    mode: uint32_t = 0
    view: cython.int
    is_protected: cython.bint = (cpu.a.cr0 & CR0_PE) != 0 and not (cpu.a.rflags & VM)
    if cpu.a.rflags & VM and cpu.a.cr0 & CR0_PE:
        mode |= MODE_V86
    if is_protected:
        mode |= MODE_PROTECTED
    if cpu.a.msr.efer & EFER_LMA and cpu.a.seg[CS].attr & ATTR_L:
        mode |= MODE_CODE64 | MODE_FLAT
    else:
        if cpu.a.seg[CS].attr & ATTR_DB:
            mode |= MODE_CODE32
        else:
            mode |= MODE_CODE16
        if cpu.a.seg[SS].attr & ATTR_DB:
            mode |= MODE_STACK32
        if is_protected and is_flat(cpu, DS) and is_flat(cpu, ES) and is_flat(cpu, SS):
            mode |= MODE_FLAT
    if cpu.a.cpl == 3:
        mode |= MODE_USER
        view = VIEW_USER
        if cpu.a.rflags & AC and cpu.a.cr0 & CR0_AM:
            view = VIEW_CHECKED
    elif cpu.a.rflags & AC and cpu.a.cr4 & CR4_SMAP:
        view = VIEW_SUPERVISOR_AC
    else:
        view = VIEW_SUPERVISOR
    if cpu.a.dr[7] & 0xFF:
        cpu.has_breakpoints = 1
        view = VIEW_CHECKED
    else:
        cpu.has_breakpoints = 0
    cpu.tlb_read = cython.address(cpu.tlb[view][0][0])
    cpu.tlb_write = cython.address(cpu.tlb[view][1][0])
    cpu.view = view
    cpu.single = (cpu.a.rflags & TF) != 0 or cpu.has_breakpoints
    if cpu.single:
        cpu.attention = 1
    cpu.mode = mode
    set_jump_key(cpu)
