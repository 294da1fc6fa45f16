"""Hypothesis drives the host judge: it draws bytes, and each draw makes a case of every variant of a row."""

from __future__ import annotations

from collections.abc import Callable

from assemble import Variant
from case import ARITHMETIC, DF
from compare import differences, report
from generate import Sample
from guest import Guest
from host_judge import HostJudge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from values import Source
from x86_table import Row

DRAW_BYTES = 48
IF = 0x200
FLAGS_COMPARED = ARITHMETIC | DF | IF
Draw = Callable[[Row, Variant, Source], Sample]


def examine(
    row: Row, variants: list[Variant], draw: Draw, judge: HostJudge, guest: Guest, samples: int
) -> None:
    """Compare the host's outcome with ours on `samples` draws."""

    @settings(
        max_examples=samples, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(data: bytes) -> None:
        cases = [draw(row, variant, Source(data)) for variant in variants]
        for sample, outcome in zip(cases, judge.run([s.case for s in cases]), strict=True):
            ours = guest.run(sample.case, sample.choice.repeat != 0)
            found = differences(sample, outcome, ours, FLAGS_COMPARED)
            assert not found, report(sample, found)

    compare()
