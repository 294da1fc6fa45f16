"""The lid on what a guest can make Ringfence say."""

from __future__ import annotations

import logging

from ringfence.log import RateLimit


def test_a_flood_is_cut_and_counted() -> None:
    now = 0.0
    lid = RateLimit(burst=2, seconds=lambda: now)

    def record(line: int) -> logging.LogRecord:
        return logging.LogRecord("ringfence", logging.WARNING, "device.py", line, "bad write", None, None)

    assert [lid.filter(record(1)) for _ in range(5)] == [True, True, False, False, False]
    assert lid.filter(record(2)), "another line of source has its own allowance"
    now = 1.5
    late = record(1)
    assert lid.filter(late)
    assert late.getMessage() == "bad write (3 more like this)"


def test_who_asks_for_more_gets_all_of_it() -> None:
    lid = RateLimit(burst=1)
    info = [
        logging.LogRecord("ringfence", logging.INFO, "device.py", 1, "hello", None, None) for _ in range(9)
    ]
    assert all(lid.filter(record) for record in info)
