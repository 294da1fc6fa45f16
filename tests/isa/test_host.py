"""Every user-mode instruction against judge 1, the bare host CPU. One test a mnemonic."""

from __future__ import annotations

from collections.abc import Iterator

import generate
import implicit
import pytest
from assemble import variants
from examine import examine
from guest import Guest
from host_judge import HostJudge
from x86_table import Row, read_rows

ROWS: dict[str, list[Row]] = {}
for _row in read_rows():
    if "user" in _row.attributes and variants(_row, 64):
        ROWS.setdefault(_row.mnemonic, []).append(_row)

#: with operands of their own: stack, branches, strings
IMPLICIT: dict[str, list[Row]] = {}
for _row in implicit.rows():
    IMPLICIT.setdefault(_row.mnemonic, []).append(_row)


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    yield found
    found.close()


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest()


def examine_explicit(mnemonic: str, judge: HostJudge, guest: Guest, samples: int) -> None:
    lacking = [row for row in ROWS[mnemonic] if not judge.has(row.feature)]
    for row in ROWS[mnemonic]:
        if row not in lacking:
            examine(row, variants(row, 64), generate.draw, judge, guest, samples)
    if lacking:
        pytest.skip(f"the host lacks {lacking[0].feature}: not judged: {', '.join(r.name for r in lacking)}")


def examine_implicit(mnemonic: str, judge: HostJudge, guest: Guest, samples: int) -> None:
    for row in IMPLICIT[mnemonic]:
        examine(row, implicit.sizes(row), implicit.draw, judge, guest, samples)


@pytest.mark.parametrize("mnemonic", ROWS)
def test_host_agrees(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    examine_explicit(mnemonic, judge, guest, 25)


@pytest.mark.parametrize("mnemonic", IMPLICIT)
def test_host_agrees_on_implicit_operands(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    examine_implicit(mnemonic, judge, guest, 25)


@pytest.mark.nightly
@pytest.mark.parametrize("mnemonic", ROWS)
def test_host_agrees_on_many(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    examine_explicit(mnemonic, judge, guest, 2000)


@pytest.mark.nightly
@pytest.mark.parametrize("mnemonic", IMPLICIT)
def test_host_agrees_on_many_implicit_operands(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    examine_implicit(mnemonic, judge, guest, 2000)


def test_every_user_row_is_examined() -> None:
    """All but those that 64-bit code has no way to write."""
    left = [row for row in read_rows() if "user" in row.attributes and not variants(row, 64)]
    assert all("i64" in row.attributes for row in left)
    assert sum(map(len, ROWS.values())) > 750 and sum(map(len, IMPLICIT.values())) > 60
