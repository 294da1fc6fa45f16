"""The local APIC's timer: one-shot, periodic, TSC-deadline. Intel SDM vol. 3, 11.5.4.

Nothing counts: what the current count is follows from when it was loaded. The input clock is
1 GHz. `timer_expire` says that the timer has fired; delivering is its caller's.
"""

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.ringfence.core.x86.lapic import LVT_MASKED, LVT_TIMER, LapicP
from cython.cimports.ringfence.core.x86.lapic_timer import LVT_PERIODIC, LVT_TSC_DEADLINE, MIN_PERIOD_NS


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def divide_shift(apic: LapicP) -> uint32_t:
    """log2 of the divider: 0b000 is 2 … 0b110 is 128, 0b111 is 1."""
    return ((apic.divide & 3 | apic.divide >> 1 & 4) + 1) & 7


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def elapsed_ticks(apic: LapicP, now_ns: uint64_t) -> uint64_t:
    # A change of divider may put the start before time 0: only the difference counts.
    since: int64_t = cython.cast(int64_t, now_ns - apic.timer_start_ns)
    return since >> divide_shift(apic) if since > 0 else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_count(apic: LapicP, now_ns: uint64_t) -> uint32_t:
    """The current-count register."""
    ticks: uint64_t = elapsed_ticks(apic, now_ns)
    if not apic.is_timer_running:
        return 0
    if apic.lvt[LVT_TIMER] & LVT_PERIODIC:
        return apic.initial_count - cython.cast(uint32_t, ticks % apic.initial_count)
    return apic.initial_count - cython.cast(uint32_t, ticks) if ticks < apic.initial_count else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def arm_count(apic: LapicP, now_ns: uint64_t) -> cython.void:
    period_ns: uint64_t = cython.cast(uint64_t, apic.initial_count) << divide_shift(apic)
    apic.timer_deadline_ns = 0
    if apic.is_timer_running and not apic.lvt[LVT_TIMER] & LVT_MASKED:
        apic.timer_deadline_ns = apic.timer_start_ns + period_ns
        if apic.lvt[LVT_TIMER] & LVT_PERIODIC and apic.timer_deadline_ns < now_ns + MIN_PERIOD_NS:
            apic.timer_deadline_ns = now_ns + MIN_PERIOD_NS


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def arm_tsc_deadline(apic: LapicP) -> cython.void:
    """The guest time at which the TSC gets there: never 0, and at most a century ahead."""
    limit: uint64_t = cython.cast(uint64_t, 1) << 62
    ahead: uint64_t
    deadline: uint64_t = apic.tsc_deadline
    if deadline == 0:
        apic.timer_deadline_ns = 0
        return
    if apic.tsc_offset >= 0:
        ahead = apic.tsc_offset
        deadline = deadline - ahead if deadline > ahead else 1
    elif deadline < limit:
        deadline -= cython.cast(uint64_t, apic.tsc_offset)
    apic.timer_deadline_ns = deadline if deadline < limit else limit


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_arm(apic: LapicP, now_ns: uint64_t) -> cython.void:
    """Work out the deadline anew: the mask or the TSC has changed."""
    if apic.lvt[LVT_TIMER] & LVT_TSC_DEADLINE:
        arm_tsc_deadline(apic)
    else:
        arm_count(apic, now_ns)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_expire(apic: LapicP, now_ns: uint64_t) -> cython.bint:
    ticks: uint64_t
    has_fired: cython.bint = False
    if apic.lvt[LVT_TIMER] & LVT_TSC_DEADLINE:
        if apic.timer_deadline_ns == 0 or apic.timer_deadline_ns > now_ns:
            return False
        apic.tsc_deadline = apic.timer_deadline_ns = 0
        return True
    if not apic.is_timer_running:
        return False
    ticks = elapsed_ticks(apic, now_ns)
    if ticks >= apic.initial_count:
        has_fired = True
        if apic.lvt[LVT_TIMER] & LVT_PERIODIC:
            apic.timer_start_ns += (ticks - ticks % apic.initial_count) << divide_shift(apic)
        else:
            apic.is_timer_running = 0
        arm_count(apic, now_ns)
    elif apic.timer_deadline_ns <= now_ns:
        arm_count(apic, now_ns)
    return has_fired


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_set_lvt(apic: LapicP, value: uint32_t, now_ns: uint64_t) -> cython.void:
    """A count in progress goes on through a change of mode, but not into or out of TSC-deadline."""
    if (apic.lvt[LVT_TIMER] ^ value) & LVT_TSC_DEADLINE:
        apic.is_timer_running = 0
        apic.initial_count = 0
        apic.tsc_deadline = 0
    apic.lvt[LVT_TIMER] = value
    timer_arm(apic, now_ns)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_set_count(apic: LapicP, value: uint32_t, now_ns: uint64_t) -> cython.void:
    """The initial-count register: counting starts from it."""
    if apic.lvt[LVT_TIMER] & LVT_TSC_DEADLINE:
        return
    apic.initial_count = value
    apic.is_timer_running = value != 0
    apic.timer_start_ns = now_ns
    arm_count(apic, now_ns)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_set_divide(apic: LapicP, value: uint32_t, now_ns: uint64_t) -> cython.void:
    """What was counted so far stays; it goes on at the new rate."""
    ticks: uint64_t = elapsed_ticks(apic, now_ns)
    apic.divide = value & 0xB
    if apic.is_timer_running:
        apic.timer_start_ns = now_ns - (ticks << divide_shift(apic))
        arm_count(apic, now_ns)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timer_set_tsc_deadline(apic: LapicP, value: uint64_t) -> cython.void:
    """IA32_TSC_DEADLINE; ignored in the other modes."""
    if apic.lvt[LVT_TIMER] & LVT_TSC_DEADLINE:
        apic.tsc_deadline = value
        arm_tsc_deadline(apic)
