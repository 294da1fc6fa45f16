"""The processor's state at power-on: SDM vol. 3, 9.1.1 and table 9-1.

The first instruction is at FFFFFFF0h: real mode, with CS's base still at FFFF0000h.
"""

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.x86.cpuid import PHYSICAL_BITS, signature_of
from cython.cimports.ringfence.core.x86.debug import DR6_ONES, DR7_ONES
from cython.cimports.ringfence.core.x86.descriptor import ATTR_DATA_RW, TYPE_LDT, TYPE_TSS32_BUSY
from cython.cimports.ringfence.core.x86.flags import set_arithmetic_flags
from cython.cimports.ringfence.core.x86.lapic import lapic_reset
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.mtrr import PAT_RESET
from cython.cimports.ringfence.core.x86.state import (
    ACTIVE,
    ATTR_CODE,
    ATTR_P,
    CR0_CD,
    CR0_ET,
    CR0_NW,
    CS,
    LDTR,
    RDX,
    STATE_VERSION,
    TR,
    WAIT_SIPI,
    CpuP,
    Segment,
)
from cython.cimports.ringfence.core.x86.tlb import flush_tlb
from cython.cimports.ringfence.core.x86.xsave_legacy import sanitize_fpu


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reset_segment(segment: cython.pointer(Segment), attr: uint32_t) -> cython.void:
    segment.selector = 0
    segment.base = 0
    segment.limit = 0xFFFF
    segment.attr = attr


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reset_registers(cpu: CpuP) -> cython.void:
    k: cython.int
    memset(cpu.a.regs, 0, cython.sizeof(cpu.a.regs))
    cpu.a.regs[RDX] = signature_of(cpu)
    cpu.a.rip = 0xFFF0
    cpu.a.rflags = 2
    set_arithmetic_flags(cpu, 0)
    cpu.a.cr0 = CR0_CD | CR0_NW | CR0_ET
    cpu.a.cr2 = cpu.a.cr3 = cpu.a.cr4 = 0
    cpu.a.xcr0 = 1
    cpu.a.cpl = 0
    for k in range(6):
        reset_segment(cython.address(cpu.a.seg[k]), ATTR_DATA_RW)
    cpu.a.seg[CS].selector = 0xF000
    cpu.a.seg[CS].base = cython.cast(uint32_t, 0xFFFF_0000)
    cpu.a.seg[CS].attr = ATTR_DATA_RW | ATTR_CODE
    reset_segment(cython.address(cpu.a.seg[LDTR]), ATTR_P | TYPE_LDT)
    reset_segment(cython.address(cpu.a.seg[TR]), ATTR_P | TYPE_TSS32_BUSY)
    cpu.a.gdtr.base = cpu.a.idtr.base = 0
    cpu.a.gdtr.limit = cpu.a.idtr.limit = 0xFFFF


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reset_cpu(cpu: CpuP) -> cython.void:
    """Everything but guest time, which goes on."""
    memset(cpu.a.dr, 0, cython.sizeof(cpu.a.dr))
    memset(cpu.a.pdpte, 0, cython.sizeof(cpu.a.pdpte))
    memset(cython.address(cpu.a.msr), 0, cython.sizeof(cpu.a.msr))
    memset(cython.address(cpu.a.fx), 0, cython.sizeof(cpu.a.fx))
    memset(cython.address(cpu.a.high), 0, cython.sizeof(cpu.a.high))
    cpu.a.version = STATE_VERSION
    cpu.a.activity = ACTIVE if cpu.index == 0 else WAIT_SIPI
    reset_registers(cpu)
    cpu.a.dr[6] = DR6_ONES
    cpu.a.dr[7] = DR7_ONES
    cpu.a.msr.pat = PAT_RESET
    # fast strings on, no branch trace and no precise sampling
    cpu.a.msr.misc_enable = 0x1801
    cpu.a.fx.fcw = 0x40
    cpu.a.fx.ftw = 0xFF
    cpu.a.fx.mxcsr = 0x1F80
    cpu.a.fx.mxcsr_mask = 0xFFFF
    sanitize_fpu(cpu)
    cpu.a.inhibit_irq = cpu.a.inhibit_db = 0
    cpu.a.nmi_blocked = cpu.a.nmi_pending = 0
    cpu.a.pending_db = 0
    cpu.a.pending_dr6 = 0
    lapic_reset(cython.address(cpu.a.lapic), cpu.index)
    cpu.a.lapic.physical_bits = PHYSICAL_BITS
    cpu.is_delivering = 0
    cpu.replay_count = 0
    flush_tlb(cpu, False)
    refresh_mode(cpu)
