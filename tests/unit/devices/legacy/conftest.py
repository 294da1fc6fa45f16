"""Fixtures: a clock the test moves, and a line that counts."""

from __future__ import annotations

import pytest
from fake_time import FakeTime, Recorder


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def line() -> Recorder:
    return Recorder()
