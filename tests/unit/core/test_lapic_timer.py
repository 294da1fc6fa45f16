"""The local APIC's timer: one-shot, periodic, TSC deadline; the divider; storms."""

from __future__ import annotations

import pytest

from ringfence.core.x86.local_apic import LocalApic

EOI, SVR = 0xB0, 0xF0
LVT_TIMER = 0x320
INITIAL, CURRENT, DIVIDE = 0x380, 0x390, 0x3E0
MASKED, PERIODIC, DEADLINE = 1 << 16, 1 << 17, 1 << 18
BY_1 = 0xB
TSC_DEADLINE = 0x6E0


@pytest.fixture
def apic() -> LocalApic:
    apic = LocalApic()
    apic.write(SVR, 0x1FF, 0)
    return apic


def test_one_shot_timer(apic: LocalApic) -> None:
    apic.write(DIVIDE, BY_1, 1000)
    apic.write(LVT_TIMER, 0xEE, 1000)
    apic.write(INITIAL, 500, 1000)
    assert apic.read(CURRENT, 1100) == 400
    assert apic.deadline_ns == 1500
    apic.run_timer(1499)
    assert apic.pending() == -1
    apic.run_timer(1500)
    assert apic.pending() == 0xEE
    assert apic.deadline_ns == 0
    assert apic.read(CURRENT, 1600) == 0
    assert apic.read(INITIAL, 1600) == 500


@pytest.mark.parametrize(
    ("divide", "factor"), [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (0xA, 128), (0xB, 1)]
)
def test_the_divider(apic: LocalApic, divide: int, factor: int) -> None:
    apic.write(DIVIDE, divide, 0)
    apic.write(LVT_TIMER, 0xEE, 0)
    apic.write(INITIAL, 100, 10)
    assert apic.deadline_ns == 10 + 100 * factor


def test_changing_the_divider_keeps_the_count(apic: LocalApic) -> None:
    apic.write(DIVIDE, BY_1, 0)
    apic.write(LVT_TIMER, 0xEE, 0)
    apic.write(INITIAL, 1000, 0)
    apic.write(DIVIDE, 0xA, 600)
    assert apic.read(CURRENT, 600) == 400
    assert apic.deadline_ns == 600 + 400 * 128


def test_a_late_periodic_timer_fires_once_and_keeps_its_phase(apic: LocalApic) -> None:
    apic.write(DIVIDE, BY_1, 0)
    apic.write(LVT_TIMER, PERIODIC | 0xEE, 0)
    apic.write(INITIAL, 1_000_000, 0)
    apic.run_timer(7_300_000)
    assert apic.acknowledge() == 0xEE
    assert apic.deadline_ns == 8_000_000
    assert apic.read(CURRENT, 7_300_000) == 700_000
    apic.write(EOI, 0, 0)
    apic.run_timer(7_400_000)
    assert apic.pending() == -1


def test_a_periodic_timer_can_not_storm_the_host(apic: LocalApic) -> None:
    apic.write(DIVIDE, BY_1, 0)
    apic.write(LVT_TIMER, PERIODIC | 0xEE, 0)
    apic.write(INITIAL, 1, 0)
    apic.run_timer(1_000_000)
    assert apic.deadline_ns >= 1_050_000


def test_changing_one_shot_to_periodic_does_not_restart_the_count(apic: LocalApic) -> None:
    apic.write(DIVIDE, BY_1, 0)
    apic.write(LVT_TIMER, 0xEE, 0)
    apic.write(INITIAL, 1_000_000, 0)
    apic.write(LVT_TIMER, PERIODIC | 0xEE, 600_000)
    assert apic.read(CURRENT, 600_000) == 400_000
    assert apic.read(CURRENT, 1_100_000) == 900_000
    apic.write(LVT_TIMER, 0xEE, 1_200_000)
    assert apic.read(CURRENT, 1_300_000) == 700_000
    assert apic.read(CURRENT, 2_500_000) == 0


def test_an_expired_one_shot_stays_at_zero(apic: LocalApic) -> None:
    apic.write(DIVIDE, BY_1, 0)
    apic.write(LVT_TIMER, MASKED | 0xEE, 0)
    apic.write(INITIAL, 1000, 0)
    assert apic.deadline_ns == 0, "a masked timer wakes nobody"
    apic.write(LVT_TIMER, PERIODIC | 0xEE, 5000)
    assert apic.pending() == -1
    assert apic.read(CURRENT, 5500) == 0
    assert apic.deadline_ns == 0


def test_writing_zero_stops_the_timer(apic: LocalApic) -> None:
    apic.write(LVT_TIMER, PERIODIC | 0xEE, 0)
    apic.write(INITIAL, 1000, 0)
    apic.write(INITIAL, 0, 100)
    assert apic.deadline_ns == 0
    assert apic.read(CURRENT, 5000) == 0


def test_tsc_deadline(apic: LocalApic) -> None:
    apic.wrmsr(TSC_DEADLINE, 5000, 0)
    assert apic.rdmsr(TSC_DEADLINE, 0) == 0, "ignored in the other modes"
    apic.write(LVT_TIMER, DEADLINE | 0xEF, 0)
    apic.wrmsr(TSC_DEADLINE, 5000, 100)
    assert apic.deadline_ns == 5000
    apic.write(INITIAL, 77, 100)
    assert (apic.read(INITIAL, 100), apic.read(CURRENT, 100)) == (0, 0)
    apic.run_timer(5000)
    assert apic.acknowledge() == 0xEF
    assert apic.rdmsr(TSC_DEADLINE, 5000) == 0
    apic.write(EOI, 0, 0)
    apic.wrmsr(TSC_DEADLINE, 4000, 6000)
    assert apic.pending() == 0xEF, "a deadline in the past fires at once"


def test_the_tsc_deadline_follows_the_tsc(apic: LocalApic) -> None:
    apic.write(LVT_TIMER, DEADLINE | 0xEF, 0)
    apic.wrmsr(TSC_DEADLINE, 5000, 0)
    apic.set_tsc_offset(-2000)
    assert apic.deadline_ns == 7000
    apic.set_tsc_offset(3000)
    assert apic.deadline_ns == 2000
    apic.set_tsc_offset(5001)
    assert apic.deadline_ns == 1
    apic.run_timer(1)
    assert apic.pending() == 0xEF
    apic.set_tsc_offset(0)
    apic.wrmsr(TSC_DEADLINE, (1 << 64) - 1, 0)
    assert apic.deadline_ns > 1 << 60


def test_leaving_tsc_deadline_mode_disarms(apic: LocalApic) -> None:
    apic.write(LVT_TIMER, DEADLINE | 0xEF, 0)
    apic.wrmsr(TSC_DEADLINE, 5000, 0)
    apic.write(LVT_TIMER, 0xEF, 0)
    assert apic.deadline_ns == 0
    apic.write(LVT_TIMER, DEADLINE | 0xEF, 0)
    assert apic.rdmsr(TSC_DEADLINE, 0) == 0
