"""Every user-mode instruction against judge 1, the bare host CPU: SDM vol. 2 is what it implements.

One test a mnemonic. Hypothesis draws bytes; each draw makes a case of every variant of each row:
operand size, register or memory, LOCK.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from assemble import variants
from compare import differences, report
from generate import draw
from guest import Guest
from host_judge import HostJudge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from values import Source
from x86_table import Row, read_rows

ROWS: dict[str, list[Row]] = {}
for _row in read_rows():
    if "user" in _row.attributes and variants(_row, 64):
        ROWS.setdefault(_row.mnemonic, []).append(_row)
DRAW_BYTES = 48


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    yield found
    found.close()


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest()


def examine(row: Row, judge: HostJudge, guest: Guest, samples: int) -> None:
    """Compare `samples` draws of each of the row's variants."""

    @settings(
        max_examples=samples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(data: bytes) -> None:
        cases = [draw(row, variant, Source(data)) for variant in variants(row, 64)]
        for sample, outcome in zip(cases, judge.run([s.case for s in cases]), strict=True):
            found = differences(sample, outcome, guest.run(sample.case))
            assert not found, report(sample, found)

    compare()


def examine_all(mnemonic: str, judge: HostJudge, guest: Guest, samples: int) -> None:
    lacking = [row for row in ROWS[mnemonic] if not judge.has(row.feature)]
    for row in ROWS[mnemonic]:
        if row not in lacking:
            examine(row, judge, guest, samples)
    if lacking:
        pytest.skip(f"the host lacks {lacking[0].feature}: not judged: {', '.join(r.name for r in lacking)}")


@pytest.mark.parametrize("mnemonic", ROWS)
def test_host_agrees(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    examine_all(mnemonic, judge, guest, 25)


@pytest.mark.nightly
@pytest.mark.parametrize("mnemonic", ROWS)
def test_host_agrees_on_many(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    examine_all(mnemonic, judge, guest, 2000)
