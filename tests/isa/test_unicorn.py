"""Integer instructions in 16- and 32-bit code against judge 2, unicorn: real and flat protected mode.

What the host judge can't run: address and operand sizes of these modes, BCD, PUSHA, ENTER, string
instructions with REP, branches, and in real mode segment loads and far transfers. Our vCPU runs each
case in all modes where it has to come out the same: virtual-8086, 16-bit protected, compatibility too.
"""

from __future__ import annotations

import pytest
from assemble import variants
from compare import differences, report
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legacy import LAYOUTS, draw, rows
from legacy_guest import GUESTS, RealMode
from unicorn_bugs import bug_of
from unicorn_judge import UnicornJudge
from values import Source
from x86_table import Row

DRAW_BYTES = 48

ROWS: dict[tuple[int, str], list[Row]] = {}
for _mode in LAYOUTS:
    for _row in rows(_mode):
        if variants(_row, _mode):
            ROWS.setdefault((_mode, _row.mnemonic), []).append(_row)


@pytest.fixture(scope="module")
def judges() -> dict[int, UnicornJudge]:
    return {mode: UnicornJudge(layout) for mode, layout in LAYOUTS.items()}


@pytest.fixture(scope="module")
def guests() -> dict[int, list[RealMode]]:
    return {mode: [guest(LAYOUTS[mode]) for guest in found] for mode, found in GUESTS.items()}


def examine(row: Row, mode: int, judge: UnicornJudge, guests: list[RealMode], samples: int) -> None:
    takers = [guest for guest in guests if guest.takes(row)]

    @settings(
        max_examples=samples, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(data: bytes) -> None:
        for variant in variants(row, mode):
            sample = draw(row, variant, Source(data))
            if bug_of(sample):
                continue
            is_repeated = sample.choice.repeat != 0
            outcome = judge.run(sample.case, is_repeated)
            for guest in takers:
                ours = guest.run(sample.case, is_repeated)
                found = differences(sample, outcome, ours, guest.flags_compared)
                assert not found, f"{type(guest).__name__}: {report(sample, found)}"

    compare()


@pytest.mark.parametrize(("mode", "mnemonic"), ROWS)
def test_unicorn_agrees(
    mode: int, mnemonic: str, judges: dict[int, UnicornJudge], guests: dict[int, list[RealMode]]
) -> None:
    for row in ROWS[mode, mnemonic]:
        examine(row, mode, judges[mode], guests[mode], 6)


@pytest.mark.nightly
@pytest.mark.parametrize(("mode", "mnemonic"), ROWS)
def test_unicorn_agrees_on_many(
    mode: int, mnemonic: str, judges: dict[int, UnicornJudge], guests: dict[int, list[RealMode]]
) -> None:
    for row in ROWS[mode, mnemonic]:
        examine(row, mode, judges[mode], guests[mode], 300)
