"""Integer instructions in real mode and in flat 32-bit protected mode against judge 2, unicorn.

What the host judge can't run: 16- and 32-bit code with its address and operand sizes, BCD, PUSHA,
ENTER, string instructions with REP, branches, and in real mode segment loads and far transfers.
"""

from __future__ import annotations

import pytest
from assemble import variants
from compare import differences, report
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legacy import LAYOUTS, TF, draw, rows
from legacy_guest import LegacyGuest
from unicorn_bugs import bug_of
from unicorn_judge import UnicornJudge
from values import Source
from x86_table import Row

DRAW_BYTES = 48
#: every flag of the low 16 but TF, which would end each case in a trap
FLAGS_COMPARED = 0x7FD5 & ~TF

ROWS: dict[tuple[int, str], list[Row]] = {}
for _mode in LAYOUTS:
    for _row in rows(_mode):
        if variants(_row, _mode):
            ROWS.setdefault((_mode, _row.mnemonic), []).append(_row)


@pytest.fixture(scope="module")
def judges() -> dict[int, UnicornJudge]:
    return {mode: UnicornJudge(layout) for mode, layout in LAYOUTS.items()}


@pytest.fixture(scope="module")
def guests() -> dict[int, LegacyGuest]:
    return {mode: LegacyGuest(layout) for mode, layout in LAYOUTS.items()}


def examine(row: Row, mode: int, judge: UnicornJudge, guest: LegacyGuest, samples: int) -> None:
    @settings(
        max_examples=samples, deadline=None, derandomize=True, database=None,
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
            ours = guest.run(sample.case, is_repeated)
            found = differences(sample, outcome, ours, FLAGS_COMPARED)
            assert not found, report(sample, found)

    compare()


@pytest.mark.parametrize(("mode", "mnemonic"), ROWS)
def test_unicorn_agrees(
    mode: int, mnemonic: str, judges: dict[int, UnicornJudge], guests: dict[int, LegacyGuest]
) -> None:
    for row in ROWS[mode, mnemonic]:
        examine(row, mode, judges[mode], guests[mode], 6)


@pytest.mark.nightly
@pytest.mark.parametrize(("mode", "mnemonic"), ROWS)
def test_unicorn_agrees_on_many(
    mode: int, mnemonic: str, judges: dict[int, UnicornJudge], guests: dict[int, LegacyGuest]
) -> None:
    for row in ROWS[mode, mnemonic]:
        examine(row, mode, judges[mode], guests[mode], 300)
