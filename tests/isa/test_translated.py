"""Every user-mode instruction as the translator runs it, against the bare host CPU. One test a mnemonic.

Branches are left out, for what they jump to would run too: test_sequences.py has them. A row that is
wrongly left to the interpreter has the right outcome too, and so has a probe that always misses: so
the calls that translated code makes are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import generate
import pytest
from assemble import Variant, variants
from case import NONE
from examine import examine
from guest import TranslatedGuest
from host_judge import HostJudge
from lowering import kind_of
from values import Source
from x86_table import Row, read_rows

ROWS: dict[str, list[Row]] = {}
for _row in read_rows():
    if "user" in _row.attributes and variants(_row, 64):
        ROWS.setdefault(_row.mnemonic, []).append(_row)

#: kinds that host code of their own does not always do
WITH_HELP = ("interpret", "leave", "divide", "divide_signed")
COPIED = {
    mnemonic: copied
    for mnemonic, rows in ROWS.items()
    if (copied := [row for row in rows if kind_of(row) not in WITH_HELP])
}
DRAWS = 40


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    yield found
    found.close()


@pytest.fixture(scope="module")
def guest() -> TranslatedGuest:
    return TranslatedGuest()


@pytest.mark.parametrize("mnemonic", ROWS)
def test_host_agrees_with_translated_code(mnemonic: str, judge: HostJudge, guest: TranslatedGuest) -> None:
    lacking = [row for row in ROWS[mnemonic] if not judge.has(row.feature)]
    for row in ROWS[mnemonic]:
        if row not in lacking:
            examine(row, variants(row, 64), generate.draw, judge, guest, 25)
    if lacking:
        pytest.skip(f"the host lacks {lacking[0].feature}: not judged: {', '.join(r.name for r in lacking)}")


def calls(guest: TranslatedGuest) -> int:
    found = guest.vcpu.counters()
    return int(found["callouts_memory"]) + int(found["callouts_interpret"])


def is_ever_done_alone(guest: TranslatedGuest, row: Row, forms: list[Variant]) -> bool:
    """Whether one of many cases runs without a call: some have operands that need one."""
    random = Random(row.name)
    for _ in range(DRAWS):
        case = generate.draw(row, random.choice(forms), Source(random.randbytes(48))).case
        before = calls(guest)
        if guest.run(case).vector == NONE and calls(guest) == before:
            return True
    return False


@pytest.mark.parametrize("mnemonic", COPIED)
def test_a_copied_instruction_calls_nobody(mnemonic: str, judge: HostJudge, guest: TranslatedGuest) -> None:
    for row in filter(lambda row: judge.has(row.feature), COPIED[mnemonic]):
        for is_memory in (False, True):
            forms = [variant for variant in variants(row, 64) if variant.is_memory == is_memory]
            assert not forms or is_ever_done_alone(guest, row, forms), f"{row.name}, memory: {is_memory}"


def test_most_rows_are_copied() -> None:
    assert sum(map(len, COPIED.values())) > 0.85 * sum(map(len, ROWS.values()))
