"""The local APIC: priorities, IPIs, x2APIC registers, legal transitions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.core.x86.local_apic import LocalApic

ID, VERSION, TPR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
TMR, IRR, ESR, ICR, ICR2 = 0x180, 0x200, 0x280, 0x300, 0x310
LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR = 0x320, 0x350, 0x360, 0x370
INITIAL = 0x380
MASKED = 1 << 16
FIXED, NMI, INIT, SIPI = 0, 4, 5, 6
BASE, TSC_DEADLINE, X2 = 0x1B, 0x6E0, 0x800
EN, EXTD, BSP = 1 << 11, 1 << 10, 1 << 8


@pytest.fixture
def apic() -> LocalApic:
    apic = LocalApic()
    apic.write(SVR, 0x1FF, 0)
    return apic


@pytest.fixture
def x2apic(apic: LocalApic) -> LocalApic:
    apic.reset(5)
    assert apic.wrmsr(BASE, apic.base_msr | EXTD, 0) == 0
    assert apic.wrmsr(X2 + 0xF, 0x1FF, 0) == 0
    return apic


def test_reset_state() -> None:
    apic = LocalApic()
    assert apic.read(VERSION, 0) == 0x50014
    assert apic.read(SVR, 0) == 0xFF
    assert apic.read(DFR, 0) == 0xFFFF_FFFF
    assert apic.read(LVT_TIMER, 0) == MASKED
    assert apic.base_msr == 0xFEE0_0000 | EN | BSP
    apic.reset(3)
    assert apic.base_msr == 0xFEE0_0000 | EN
    assert apic.read(ID, 0) == 3 << 24
    assert not apic.accepts_extint


def test_the_higher_priority_class_interrupts_first(apic: LocalApic) -> None:
    for vector in (0x31, 0x52, 0x41):
        apic.accept(vector)
    assert apic.read(IRR + 0x10, 0) == 1 << 0x11
    assert apic.acknowledge() == 0x52
    assert apic.read(PPR, 0) == 0x50
    assert apic.pending() == -1
    apic.accept(0x5F)
    assert apic.pending() == -1, "the same class must wait"
    apic.accept(0x60)
    assert apic.acknowledge() == 0x60
    apic.write(EOI, 0, 0)
    assert apic.pending() == -1
    apic.write(EOI, 0, 0)
    assert [apic.acknowledge(), apic.pending()] == [0x5F, -1]
    apic.write(EOI, 0, 0)
    assert apic.acknowledge() == 0x41


def test_the_task_priority_holds_back_its_class(apic: LocalApic) -> None:
    apic.accept(0x45)
    apic.write(TPR, 0x40, 0)
    assert apic.pending() == -1
    assert apic.acknowledge() == 0xFF, "nothing deliverable: the spurious vector"
    assert apic.cr8 == 4
    apic.cr8 = 3
    assert apic.read(TPR, 0) == 0x30
    assert apic.pending() == 0x45


def test_an_ended_level_interrupt_is_remembered(apic: LocalApic) -> None:
    apic.accept(0x40, is_level=True)
    apic.accept(0x51)
    assert apic.read(TMR + 0x20, 0) == 1
    apic.acknowledge()
    apic.write(EOI, 0, 0)
    assert apic.take_eoi() == -1
    apic.acknowledge()
    apic.write(EOI, 0, 0)
    assert apic.take_eoi() == 0x40
    assert apic.take_eoi() == -1


def test_a_disabled_apic_takes_nothing() -> None:
    apic = LocalApic()
    apic.deliver(FIXED, 0x40)
    assert apic.pending() == -1
    apic.deliver(NMI, 0)
    assert apic.signals["nmi"] == 1, "software disable leaves NMI, INIT and SIPI"
    apic.deliver(SIPI, 0x9A)
    assert apic.signals["sipi"] == 0x9A


def test_software_disable_masks_the_local_vectors(apic: LocalApic) -> None:
    apic.write(LVT_LINT0, 0x30, 0)
    assert apic.read(LVT_LINT0, 0) == 0x30
    apic.write(SVR, 0xFF, 0)
    assert apic.read(LVT_LINT0, 0) == MASKED | 0x30
    apic.write(LVT_LINT0, 0x30, 0)
    assert apic.read(LVT_LINT0, 0) == MASKED | 0x30


def test_vectors_below_16_are_errors(apic: LocalApic) -> None:
    apic.write(LVT_ERROR, 0xFE, 0)
    apic.accept(0x0F)
    assert apic.pending() == 0xFE
    assert apic.read(ESR, 0) == 0, "not latched yet"
    apic.write(ESR, 0, 0)
    assert apic.read(ESR, 0) == 1 << 6
    apic.write(ICR, 0x40000 | 5, 0)
    apic.write(ESR, 0, 0)
    assert apic.read(ESR, 0) == 1 << 5
    apic.read(0x3D0, 0)
    apic.write(ESR, 0, 0)
    assert apic.read(ESR, 0) == 1 << 7


def test_an_error_vector_below_16_does_not_recurse(apic: LocalApic) -> None:
    apic.write(LVT_ERROR, 3, 0)
    apic.accept(1)
    apic.write(ESR, 0, 0)
    assert apic.read(ESR, 0) == 1 << 6
    assert apic.pending() == -1


def test_self_ipi_stays_inside(apic: LocalApic) -> None:
    assert apic.write(ICR, 0x44000 | 0xF1, 0) is False
    assert apic.acknowledge() == 0xF1
    assert apic.read(ICR, 0) == 0x44000 | 0xF1


def test_ipi_by_destination(apic: LocalApic) -> None:
    apic.write(ICR2, 0, 0)
    assert apic.write(ICR, 0x40F1, 0) is False, "physical, to itself alone"
    assert apic.acknowledge() == 0xF1
    apic.write(ICR2, 7 << 24, 0)
    assert apic.write(ICR, 0x40F2, 0) is True
    assert apic.icr == 7 << 56 | 0x40F2
    apic.write(EOI, 0, 0)
    assert apic.pending() == -1
    apic.write(ICR2, 0xFF << 24, 0)
    assert apic.write(ICR, 0x40F2, 0) is True
    assert apic.pending() == 0xF2


def test_shorthands(apic: LocalApic) -> None:
    assert apic.write(ICR, 0x8_4000 | 0xC0, 0) is True
    assert apic.acknowledge() == 0xC0
    assert apic.write(ICR, 0xC_4000 | 0xD0, 0) is True
    assert apic.pending() == -1, "all but self"


def test_nmi_init_and_sipi(apic: LocalApic) -> None:
    apic.write(ICR, 0x4400, 0)
    assert apic.signals == {"nmi": 1, "init": 0, "sipi": -1}
    apic.write(ICR, 0x8500, 0)
    assert apic.signals["init"] == 0, "level de-assert does nothing"
    apic.write(ICR, 0xC500, 0)
    assert apic.signals["init"] == 1


def test_logical_destinations(apic: LocalApic) -> None:
    apic.write(LDR, 0x02 << 24, 0)
    assert apic.matches(0x03, True)
    assert not apic.matches(0x01, True)
    apic.write(DFR, 0, 0)  # cluster model
    apic.write(LDR, 0x32 << 24, 0)
    assert apic.matches(0x36, True)
    assert not apic.matches(0x42, True)
    assert not apic.matches(0x35, True)
    assert apic.matches(0xFF, True)
    assert apic.matches(0xFF, False)
    assert not apic.matches(1, False)


def test_lint0_as_extint_and_as_vector(apic: LocalApic) -> None:
    assert apic.accepts_extint, "virtual wire mode, as firmware leaves it"
    apic.write(LVT_LINT0, MASKED | 0x700, 0)
    assert not apic.accepts_extint
    apic.write(LVT_LINT0, 0x35, 0)
    apic.set_lint(0, True)
    apic.set_lint(0, True)
    assert apic.acknowledge() == 0x35
    apic.write(EOI, 0, 0)
    assert apic.pending() == -1, "an edge counts once"
    assert not apic.may_nmi
    apic.write(LVT_LINT1, 0x400, 0)
    assert not apic.may_nmi, "LINT1 has no wire"
    apic.write(LVT_LINT0, 0x400, 0)
    assert apic.may_nmi
    apic.set_lint(1, True)
    assert apic.signals["nmi"] == 1


def test_read_only_and_reserved_bits_of_the_local_vectors(apic: LocalApic) -> None:
    apic.write(LVT_TIMER, 0xFFFF_FFFF, 0)
    assert apic.read(LVT_TIMER, 0) == 0x700FF
    apic.write(LVT_LINT0, 0xFFFF_FFFF, 0)
    assert apic.read(LVT_LINT0, 0) == 0x1A7FF
    apic.write(VERSION, 0, 0)
    assert apic.read(VERSION, 0) == 0x50014


def test_base_msr_transitions() -> None:
    apic = LocalApic()
    base = 0xFEE0_0000 | BSP
    assert apic.wrmsr(BASE, base | EXTD, 0) == 1, "xAPIC to invalid"
    assert apic.wrmsr(BASE, base | EN | EXTD, 0) == 0
    assert apic.wrmsr(BASE, base | EN, 0) == 1, "x2APIC to xAPIC"
    assert apic.wrmsr(BASE, base | EXTD, 0) == 1
    assert apic.wrmsr(BASE, base, 0) == 0
    assert apic.accepts_extint
    assert not apic.matches(0, False)
    assert apic.wrmsr(BASE, base | EXTD, 0) == 1
    assert apic.wrmsr(BASE, base | EN | EXTD, 0) == 1, "disabled to x2APIC"
    assert apic.wrmsr(BASE, base | EN, 0) == 0
    assert apic.wrmsr(BASE, base | EN | 1, 0) == 1
    assert apic.wrmsr(BASE, base | EN | 1 << 9, 0) == 1
    assert apic.wrmsr(BASE, base | EN | 1 << 40, 0) == 1
    assert apic.wrmsr(BASE, 0xFED4_0000 | EN, 0) == 0
    assert apic.rdmsr(BASE, 0) == 0xFED4_0000 | EN


def test_disabling_resets_the_registers(apic: LocalApic) -> None:
    apic.accept(0x40)
    apic.write(LVT_TIMER, 0xEE, 0)
    apic.write(INITIAL, 100, 0)
    apic.wrmsr(BASE, apic.base_msr & ~EN, 0)
    assert (apic.pending(), apic.deadline_ns) == (-1, 0)
    apic.wrmsr(BASE, apic.base_msr | EN, 0)
    assert apic.read(SVR, 0) == 0xFF
    assert apic.read(LVT_LINT0, 0) == MASKED


def test_x2apic_msrs_fault_in_xapic_mode(apic: LocalApic) -> None:
    assert apic.rdmsr(X2 + 2, 0) is None
    assert apic.wrmsr(X2 + 8, 0, 0) == 1


def test_x2apic_registers(x2apic: LocalApic) -> None:
    assert x2apic.rdmsr(X2 + 0x2, 0) == 5
    assert x2apic.rdmsr(X2 + 0xD, 0) == 1 << 5
    assert x2apic.wrmsr(X2 + 0x8, 0x20, 0) == 0
    assert x2apic.rdmsr(X2 + 0xA, 0) == 0x20
    for absent in (0x9, 0xB, 0xC, 0xE, 0x31, 0x2F, 0x3F, 0x40, 0xFF):
        assert x2apic.rdmsr(X2 + absent, 0) is None, hex(absent)
    for read_only in (0x2, 0x3, 0x9, 0xA, 0xC, 0xD, 0xE, 0x10, 0x18, 0x20, 0x31, 0x39, 0x40):
        assert x2apic.wrmsr(X2 + read_only, 0, 0) == 1, hex(read_only)


@pytest.mark.parametrize(
    ("register", "value"),
    [
        *((0x08, 0x100), (0x0B, 1), (0x0F, 0x400), (0x28, 1), (0x32, 0x80000), (0x35, 0x800)),
        *((0x38, 1 << 32), (0x3E, 4), (0x3F, 0x100), (0x30, 0x2000), (0x30, 0x10000), (0x30, 0x100000)),
    ],
)
def test_x2apic_reserved_bits_fault(x2apic: LocalApic, register: int, value: int) -> None:
    assert x2apic.wrmsr(X2 + register, value, 0) == 1


def test_x2apic_ipis(x2apic: LocalApic) -> None:
    assert x2apic.wrmsr(X2 + 0x3F, 0x71, 0) == 0
    assert x2apic.acknowledge() == 0x71
    assert x2apic.wrmsr(X2 + 0xB, 0, 0) == 0
    assert x2apic.wrmsr(X2 + 0x30, 5 << 32 | 0x4072, 0) == 0
    assert x2apic.acknowledge() == 0x72
    assert x2apic.wrmsr(X2 + 0xB, 0, 0) == 0
    assert x2apic.wrmsr(X2 + 0x30, 6 << 32 | 0x4073, 0) == 2
    assert x2apic.pending() == -1
    assert x2apic.wrmsr(X2 + 0x30, 0xFFFF_FFFF << 32 | 0x4073, 0) == 2
    assert x2apic.pending() == 0x73
    assert x2apic.rdmsr(X2 + 0x30, 0) == 0xFFFF_FFFF << 32 | 0x4073


def test_x2apic_destinations(x2apic: LocalApic) -> None:
    assert x2apic.matches(1 << 5 | 1, True)
    assert not x2apic.matches(1 << 16 | 1 << 5, True)
    assert x2apic.matches(5, False)
    assert x2apic.matches(0xFF, False), "a device's broadcast has eight bits"


def test_bytes_of_a_register(apic: LocalApic) -> None:
    assert apic.read(VERSION + 2, 0) == 5
    assert apic.read(VERSION + 4, 0) == 0
    apic.write(TPR + 1, 0xFF, 0)
    assert apic.read(TPR, 0) == 0


def test_save_and_restore(apic: LocalApic) -> None:
    apic.accept(0x40)
    apic.write(LVT_TIMER, 0xEE, 0)
    apic.write(INITIAL, 100, 0)
    other = LocalApic()
    other.restore(apic.save())
    assert other.save() == apic.save()
    assert (other.pending(), other.deadline_ns) == (0x40, 200)
    with pytest.raises(ValueError, match="bytes"):
        other.restore(b"")


_STEP = st.tuples(
    st.sampled_from(("page", "msr", "message", "timer")),
    st.integers(0, 0xFFF),
    st.one_of(st.integers(0, 0xFFFF_FFFF), st.integers(0, (1 << 64) - 1)),
    st.integers(0, 1 << 40),
)


@settings(max_examples=200)
@given(steps=st.lists(_STEP, max_size=60), has_x2apic=st.booleans())
def test_any_sequence_is_survived(steps: list[tuple[str, int, int, int]], has_x2apic: bool) -> None:
    apic, now = LocalApic(), 0
    if has_x2apic:
        apic.wrmsr(BASE, apic.base_msr | EXTD, 0)
    for kind, where, value, wait_ns in steps:
        now += wait_ns
        if kind == "page":
            apic.write(where & 0xFF0, value & 0xFFFF_FFFF, now)
            apic.read(where, now)
        elif kind == "msr":
            msr = (BASE, TSC_DEADLINE, X2 + (where & 0x3F))[where % 3]
            assert apic.wrmsr(msr, value, now) in (0, 1, 2)
            apic.rdmsr(msr, now)
        elif kind == "message":
            apic.deliver(where & 7, value & 0xFF, bool(where & 8))
            apic.matches(value & 0xFFFF_FFFF, bool(where & 1))
        else:
            apic.run_timer(now)
            assert apic.deadline_ns == 0 or apic.deadline_ns > now
        pending = apic.pending()
        assert pending == -1 or pending >> 4 > apic.cr8
        if pending >= 0 and where & 1:
            assert apic.acknowledge() == pending
            assert apic.pending() == -1 or apic.pending() >> 4 > pending >> 4
