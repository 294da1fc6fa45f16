"""What interrupts do to a local APIC: acceptance, priority, end, and where a message goes.

Intel SDM vol. 3, 11.6 to 11.8. The vector that may interrupt now is cached in ``pending`` and
worked out anew whenever something it depends on changes: the run loop's question costs one load.
"""

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.ringfence.core.x86 import lapic as c
from cython.cimports.ringfence.core.x86.lapic import LapicP, bit_of, is_x2apic


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def highest(bits: cython.pointer[uint32_t]) -> cython.int:
    """The highest vector that is set, or -1."""
    word: cython.int
    vector: cython.int
    for word in range(7, -1, -1):
        if bits[word]:
            vector = 31
            while not bits[word] >> vector & 1:
                vector -= 1
            return word * 32 + vector
    return -1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def update(apic: LapicP) -> cython.void:
    """Work out PPR and the vector that beats it."""
    served: cython.int = highest(apic.isr)
    waiting: cython.int = highest(apic.irr)
    apic.ppr = apic.tpr
    if served >= 0 and (served >> 4) > cython.cast(cython.int, apic.tpr >> 4):
        apic.ppr = served & 0xF0
    if waiting >= 0 and (waiting >> 4) <= cython.cast(cython.int, apic.ppr >> 4):
        waiting = -1
    apic.pending = waiting


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_accept(apic: LapicP, vector: uint32_t, is_level: cython.bint) -> cython.void:
    """A fixed interrupt arrives."""
    vector &= 0xFF
    if vector < 16:
        report(apic, c.ESR_RECEIVE_VECTOR)
        return
    apic.irr[vector >> 5] |= bit_of(vector)
    if is_level:
        apic.tmr[vector >> 5] |= bit_of(vector)
    else:
        apic.tmr[vector >> 5] &= ~bit_of(vector)
    update(apic)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def report(apic: LapicP, error: uint32_t) -> cython.void:
    """Gather an error and interrupt through LVT error; that vector's own error ends it."""
    entry: uint32_t = apic.lvt[c.LVT_ERROR]
    apic.errors |= error
    if entry & c.LVT_MASKED:
        return
    if entry & 0xFF < 16:
        apic.errors |= c.ESR_RECEIVE_VECTOR
    else:
        lapic_accept(apic, entry & 0xFF, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_deliver(
    apic: LapicP, delivery_mode: uint32_t, vector: uint32_t, is_level: cython.bint
) -> cython.void:
    """A message from another APIC, an I/O APIC or MSI. SMI and ExtINT messages are dropped."""
    if not apic.base_msr & c.APIC_BASE_ENABLE:
        return
    if delivery_mode == c.DELIVER_FIXED or delivery_mode == c.DELIVER_LOWEST:
        if apic.svr & c.SVR_ENABLE:
            lapic_accept(apic, vector, is_level)
    elif delivery_mode == c.DELIVER_NMI:
        apic.nmi_pending = 1
    elif delivery_mode == c.DELIVER_INIT:
        apic.init_pending = 1
    elif delivery_mode == c.DELIVER_SIPI:
        apic.sipi_pending = 1
        apic.sipi_vector = vector & 0xFF


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_acknowledge(apic: LapicP) -> cython.int:
    """The processor takes the interrupt; with none pending it gets the spurious vector."""
    vector: uint32_t
    if apic.pending < 0:
        return apic.svr & 0xFF
    vector = apic.pending
    apic.irr[vector >> 5] &= ~bit_of(vector)
    apic.isr[vector >> 5] |= bit_of(vector)
    update(apic)
    return vector


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_eoi(apic: LapicP) -> cython.void:
    served: cython.int = highest(apic.isr)
    if served < 0:
        return
    apic.isr[served >> 5] &= ~bit_of(served)
    if apic.tmr[served >> 5] & bit_of(served):
        apic.eoi_vector = served
    update(apic)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_set_lint(apic: LapicP, pin: cython.int, level: cython.bint) -> cython.void:
    """A change of LINT0 (the 8259's INTR) or LINT1 (NMI). ExtINT is `lapic_accepts_extint`'s."""
    bit: uint32_t = bit_of(pin & 1)
    entry: uint32_t = apic.lvt[c.LVT_LINT0 + (pin & 1)]
    if level and not apic.lint_levels & bit and not entry & c.LVT_MASKED:
        lapic_deliver(apic, entry >> 8 & 7, entry & 0xFF, pin == 0 and entry & c.LVT_LEVEL != 0)
    apic.lint_levels = apic.lint_levels | bit if level else apic.lint_levels & ~bit


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_accepts_extint(apic: LapicP) -> cython.bint:
    """May the 8259 interrupt: LINT0 is an unmasked ExtINT, or the APIC is off and out of the way."""
    if not apic.base_msr & c.APIC_BASE_ENABLE:
        return True
    return apic.lvt[c.LVT_LINT0] & (c.LVT_MASKED | 0x700) == c.DELIVER_EXTINT << 8


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_may_nmi(apic: LapicP) -> cython.bint:
    """Can a local source deliver an NMI? LINT1, which firmware opens for it, has no wire here."""
    return apic.lvt[c.LVT_LINT0] & (c.LVT_MASKED | 0x700) == c.DELIVER_NMI << 8


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lapic_matches(apic: LapicP, destination: uint32_t, is_logical: cython.bint) -> cython.bint:
    """Is a message with this destination for this processor? Devices send eight bits of it."""
    if not apic.base_msr & c.APIC_BASE_ENABLE:
        return False
    if destination == c.BROADCAST:
        return True
    if is_x2apic(apic):
        if not is_logical:
            return destination == apic.id or destination == 0xFF
        return destination >> 16 == apic.ldr >> 16 and destination & apic.ldr & 0xFFFF != 0
    if destination == 0xFF:
        return True
    if not is_logical:
        return destination == apic.id
    if apic.dfr >> 28 == 0xF:
        return apic.ldr >> 24 & destination & 0xFF != 0
    return apic.ldr >> 28 == destination >> 4 and apic.ldr >> 24 & destination & 0xF != 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def send(apic: LapicP) -> cython.bint:
    """Do what ICR says for this processor; True: others must see it too."""
    vector: uint32_t = apic.icr & 0xFF
    mode: uint32_t = apic.icr >> 8 & 7
    shorthand: uint32_t = apic.icr >> 18 & 3
    destination: uint32_t = apic.icr >> 32 if is_x2apic(apic) else apic.icr >> 56
    is_logical: cython.bint = apic.icr & c.ICR_LOGICAL != 0
    is_ours: cython.bint = shorthand == c.SHORTHAND_SELF or shorthand == c.SHORTHAND_ALL
    is_only_ours: cython.bint = shorthand == c.SHORTHAND_SELF
    if mode == c.DELIVER_INIT and apic.icr & c.ICR_LEVEL and not apic.icr & c.ICR_ASSERT:
        return False  # INIT level de-assert: no effect on any processor since the Pentium 4
    if (mode == c.DELIVER_FIXED or mode == c.DELIVER_LOWEST) and vector < 16:
        report(apic, c.ESR_SEND_VECTOR)
        return False
    if shorthand == 0:
        is_ours = lapic_matches(apic, destination, is_logical)
        is_only_ours = is_ours and (mode == c.DELIVER_LOWEST or (not is_logical and destination == apic.id))
    if is_ours:
        lapic_deliver(apic, mode, vector, False)
    return not is_only_ours
