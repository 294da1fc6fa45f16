"""Exit statuses: every ending has its own, and none can pass for the guest's word."""

from __future__ import annotations

import pytest

from ringfence.errors import HostError, RingfenceError, UserError
from ringfence.vmm.outcome import BUG_STATUS, TABLE, USER_ERROR_STATUS, Kind, Outcome, status_lines

FIXED = {kind: row.status for kind, row in TABLE.items() if row.status is not None}


def test_every_kind_is_in_the_table() -> None:
    assert set(TABLE) == set(Kind)


def test_failures_have_statuses_of_their_own() -> None:
    failures = [status for kind, status in FIXED.items() if kind not in (Kind.POWER_OFF, Kind.LEFT)]
    failures += [USER_ERROR_STATUS, BUG_STATUS]
    assert len(set(failures)) == len(failures)
    assert 0 not in failures


@pytest.mark.parametrize("value", [0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF_FFFF])
def test_a_debug_exit_passes_for_nothing_else(value: int) -> None:
    status = Outcome(Kind.DEBUG_EXIT, value).exit_status
    assert status == (value << 1 | 1) & 0xFF
    assert status not in {*FIXED.values(), USER_ERROR_STATUS, BUG_STATUS}


def test_errors_and_endings_agree() -> None:
    assert UserError("x").exit_status == USER_ERROR_STATUS
    assert RingfenceError("x").exit_status == HostError("x").exit_status == FIXED[Kind.FAILED]


def test_each_status_is_told() -> None:
    lines = "\n".join(status_lines())
    for kind, row in TABLE.items():
        assert row.meaning in lines, kind
    assert str(Outcome(Kind.DEBUG_EXIT, 0x10)).endswith("port")
    assert "signal 15" in str(Outcome(Kind.KILLED, 15))
