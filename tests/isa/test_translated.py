"""Every user-mode instruction as the translator runs it, against the bare host CPU. One test a mnemonic.

Branches are left out, for what they jump to would run too: test_sequences.py has them.
"""

from __future__ import annotations

from collections.abc import Iterator

import generate
import pytest
from assemble import variants
from examine import examine
from guest import TranslatedGuest
from host_judge import HostJudge
from x86_table import Row, read_rows

ROWS: dict[str, list[Row]] = {}
for _row in read_rows():
    if "user" in _row.attributes and variants(_row, 64):
        ROWS.setdefault(_row.mnemonic, []).append(_row)


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
