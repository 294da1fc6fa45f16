"""The local APIC: xAPIC and x2APIC. Intel SDM vol. 3, chapter 11 (APIC).

The register page, the MSRs, the local vector table, enabling and reset. All state is in the
`Lapic` struct; what interrupts do to it is in lapic_delivery, the timer in lapic_timer.

At reset LINT0 of processor 0 is an unmasked ExtINT, which is what firmware leaves behind (the
MP specification's virtual wire mode): no firmware runs before a directly loaded kernel.
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.string import memset
from cython.cimports.ringfence.core.x86 import lapic as c
from cython.cimports.ringfence.core.x86.lapic import LapicP, is_x2apic
from cython.cimports.ringfence.core.x86.lapic_delivery import lapic_deliver, lapic_eoi, report, send, update
from cython.cimports.ringfence.core.x86.lapic_timer import (
    timer_arm,
    timer_count,
    timer_expire,
    timer_set_count,
    timer_set_divide,
    timer_set_lvt,
    timer_set_tsc_deadline,
)

# -- local vectors and the timer --


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_lvt(apic: LapicP, index: uint32_t, value: uint32_t, now_ns: uint64_t) -> cython.void:
    if not apic.svr & c.SVR_ENABLE:
        value |= c.LVT_MASKED
    value &= lvt_bits(index)
    if index == c.LVT_TIMER:
        lapic_run_timer(apic, now_ns)
        timer_set_lvt(apic, value, now_ns)
    else:
        apic.lvt[index] = value


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lvt_bits(index: uint32_t) -> uint32_t:
    if index == c.LVT_TIMER:
        return c.LVT_VALID_TIMER
    if index == c.LVT_ERROR:
        return c.LVT_VALID_ERROR
    if index == c.LVT_LINT0 or index == c.LVT_LINT1:
        return c.LVT_VALID_LINT
    return c.LVT_VALID_OTHER


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_run_timer(apic: LapicP, now_ns: uint64_t) -> cython.void:
    if timer_expire(apic, now_ns) and not apic.lvt[c.LVT_TIMER] & c.LVT_MASKED:
        lapic_deliver(apic, c.DELIVER_FIXED, apic.lvt[c.LVT_TIMER] & 0xFF, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_set_tsc_offset(apic: LapicP, tsc_offset: int64_t) -> cython.void:
    apic.tsc_offset = tsc_offset
    if apic.tsc_deadline:
        timer_arm(apic, 0)


# -- registers, by index --


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_register(
    apic: LapicP, index: uint32_t, now_ns: uint64_t, out: cython.pointer[uint32_t]
) -> cython.bint:
    """False: there is no such register to read."""
    if index == c.APIC_ID:
        out[0] = apic.id if is_x2apic(apic) else apic.id << 24
    elif index == c.APIC_VERSION:
        out[0] = c.APIC_VERSION_VALUE
    elif index == c.APIC_TPR:
        out[0] = apic.tpr
    elif index == c.APIC_PPR:
        out[0] = apic.ppr
    elif index == c.APIC_LDR:
        out[0] = apic.ldr
    elif index == c.APIC_SVR:
        out[0] = apic.svr
    elif c.APIC_ISR <= index < c.APIC_TMR:
        out[0] = apic.isr[index & 7]
    elif c.APIC_TMR <= index < c.APIC_IRR:
        out[0] = apic.tmr[index & 7]
    elif c.APIC_IRR <= index < c.APIC_ESR:
        out[0] = apic.irr[index & 7]
    elif index == c.APIC_ESR:
        out[0] = apic.esr
    elif index == c.APIC_ICR:
        out[0] = cython.cast(uint32_t, apic.icr)
    elif c.APIC_LVT <= index < c.APIC_LVT + c.LVT_COUNT:
        out[0] = apic.lvt[index - c.APIC_LVT]
    elif index == c.APIC_INITIAL_COUNT:
        out[0] = apic.initial_count
    elif index == c.APIC_CURRENT_COUNT:
        out[0] = timer_count(apic, now_ns)
    elif index == c.APIC_DIVIDE:
        out[0] = apic.divide
    else:
        return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_register(apic: LapicP, index: uint32_t, value: uint32_t, now_ns: uint64_t) -> cython.bint:
    """Write a register both modes have, ICR aside. False: there is no such register to write."""
    i: cython.int
    if index == c.APIC_EOI:
        lapic_eoi(apic)
    elif index == c.APIC_TPR:
        apic.tpr = value & 0xFF
        update(apic)
    elif index == c.APIC_SVR:
        apic.svr = value & c.SVR_VALID
        if not apic.svr & c.SVR_ENABLE:
            for i in range(c.LVT_COUNT):
                apic.lvt[i] |= c.LVT_MASKED
            timer_arm(apic, now_ns)
    elif index == c.APIC_ESR:
        apic.esr = apic.errors
        apic.errors = 0
    elif c.APIC_LVT <= index < c.APIC_LVT + c.LVT_COUNT:
        write_lvt(apic, index - c.APIC_LVT, value, now_ns)
    elif index == c.APIC_INITIAL_COUNT:
        lapic_run_timer(apic, now_ns)
        timer_set_count(apic, value, now_ns)
    elif index == c.APIC_DIVIDE:
        lapic_run_timer(apic, now_ns)
        timer_set_divide(apic, value, now_ns)
    else:
        return False
    return True


# -- the register page (xAPIC) and the MSRs (x2APIC) --


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_read(apic: LapicP, offset: uint32_t, now_ns: uint64_t) -> uint32_t:
    index: uint32_t = offset >> 4 & 0xFF
    value: uint32_t = 0
    if offset & 0xC or index == c.APIC_EOI:
        return 0
    if index == c.APIC_ICR2:
        value = cython.cast(uint32_t, apic.icr >> 32)
    elif index == c.APIC_DFR:
        value = apic.dfr
    elif not read_register(apic, index, now_ns, cython.address(value)):
        report(apic, c.ESR_REGISTER)
    return value >> 8 * (offset & 3)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_write(apic: LapicP, offset: uint32_t, value: uint32_t, now_ns: uint64_t) -> cython.bint:
    index: uint32_t = offset >> 4 & 0xFF
    if offset & 0xF or index == c.APIC_ID:
        return False
    if index == c.APIC_ICR:
        apic.icr = apic.icr & ~cython.cast(uint64_t, c.LOW_32) | value & ~c.ICR_BUSY
        return send(apic)
    if index == c.APIC_ICR2:
        apic.icr = apic.icr & c.LOW_32 | cython.cast(uint64_t, value & c.HIGH_8) << 32
    elif index == c.APIC_LDR:
        apic.ldr = value & c.HIGH_8
    elif index == c.APIC_DFR:
        apic.dfr = value | 0x0FFFFFFF
    elif not write_register(apic, index, value, now_ns):
        report(apic, c.ESR_REGISTER)
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_rdmsr(apic: LapicP, msr: uint32_t, out: cython.pointer[uint64_t], now_ns: uint64_t) -> cython.bint:
    value: uint32_t = 0
    if msr == c.MSR_APIC_BASE:
        out[0] = apic.base_msr
        return True
    if msr == c.MSR_TSC_DEADLINE:
        out[0] = apic.tsc_deadline
        return True
    if not is_x2apic(apic):
        return False
    if msr == c.MSR_X2APIC + c.APIC_ICR:
        out[0] = apic.icr
        return True
    if not read_register(apic, msr - c.MSR_X2APIC, now_ns, cython.address(value)):
        return False
    out[0] = value
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_wrmsr(apic: LapicP, msr: uint32_t, value: uint64_t, now_ns: uint64_t) -> cython.int:
    index: uint32_t = msr - c.MSR_X2APIC
    if msr == c.MSR_APIC_BASE:
        return 0 if write_base(apic, value) else 1
    if msr == c.MSR_TSC_DEADLINE:
        timer_set_tsc_deadline(apic, value)
        lapic_run_timer(apic, now_ns)
        return 0
    if not is_x2apic(apic):
        return 1
    if index == c.APIC_ICR:
        if value & c.X2APIC_ICR_RESERVED:
            return 1
        apic.icr = value & ~cython.cast(uint64_t, c.ICR_BUSY)
        return 2 if send(apic) else 0
    if value & ~cython.cast(uint64_t, writable_bits(index)):
        return 1
    if index == c.APIC_SELF_IPI:
        if value < 16:
            report(apic, c.ESR_SEND_VECTOR)
        else:
            lapic_deliver(apic, c.DELIVER_FIXED, value, False)
        return 0
    return 0 if write_register(apic, index, value, now_ns) else 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def writable_bits(index: uint32_t) -> uint32_t:
    """In x2APIC mode, setting any other bit is #GP."""
    if index == c.APIC_EOI or index == c.APIC_ESR:
        return 0
    if index == c.APIC_TPR or index == c.APIC_SELF_IPI:
        return 0xFF
    if index == c.APIC_SVR:
        return c.SVR_VALID
    if index == c.APIC_DIVIDE:
        return 0xB
    if c.APIC_LVT <= index < c.APIC_LVT + c.LVT_COUNT:
        # Delivery status and remote IRR are read-only: writing them is no fault.
        return lvt_bits(index - c.APIC_LVT) | 0x5000
    return c.LOW_32


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_set_cr8(apic: LapicP, value: uint64_t) -> cython.void:
    apic.tpr = (value & 0xF) << 4
    update(apic)


# -- enabling and reset --


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def write_base(apic: LapicP, value: uint64_t) -> cython.bint:
    """IA32_APIC_BASE. False: reserved bits, or a transition that figure 11-9 does not have."""
    is_on: cython.bint = value & c.APIC_BASE_ENABLE != 0
    to_x2apic: cython.bint = value & c.APIC_BASE_X2APIC != 0
    was_on: cython.bint = apic.base_msr & c.APIC_BASE_ENABLE != 0
    was_x2apic: cython.bint = is_x2apic(apic)
    if value & 0x2FF or value >> apic.physical_bits:
        return False
    if to_x2apic and not (is_on and was_on):
        return False
    if was_x2apic and is_on and not to_x2apic:
        return False
    apic.base_msr = value
    if was_on and not is_on:
        reset_registers(apic)
    elif to_x2apic and not was_x2apic:
        apic.ldr = (apic.id >> 4) << 16 | cython.cast(uint32_t, 1) << (apic.id & 15)
        apic.icr = 0
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reset_registers(apic: LapicP) -> cython.void:
    i: cython.int
    apic.tsc_deadline = apic.timer_start_ns = apic.timer_deadline_ns = apic.icr = 0
    apic.tpr = apic.ldr = apic.esr = apic.errors = apic.divide = apic.initial_count = 0
    apic.is_timer_running = 0
    apic.dfr = c.LOW_32
    apic.svr = 0xFF
    apic.eoi_vector = -1
    for i in range(c.LVT_COUNT):
        apic.lvt[i] = c.LVT_MASKED
    memset(apic.irr, 0, cython.sizeof(apic.irr))
    memset(apic.isr, 0, cython.sizeof(apic.isr))
    memset(apic.tmr, 0, cython.sizeof(apic.tmr))
    update(apic)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_reset(apic: LapicP, id: uint32_t) -> cython.void:
    """Power-up. The TSC offset and the lines' levels are not the APIC's own and stay."""
    apic.id = id
    apic.base_msr = c.APIC_BASE_DEFAULT | c.APIC_BASE_ENABLE
    apic.nmi_pending = apic.init_pending = apic.sipi_pending = 0
    if apic.physical_bits == 0:
        apic.physical_bits = 40
    reset_registers(apic)
    if id == 0:
        apic.base_msr |= c.APIC_BASE_BSP
        apic.lvt[c.LVT_LINT0] = c.DELIVER_EXTINT << 8
