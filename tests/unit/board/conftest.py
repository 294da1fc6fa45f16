"""Fixtures: a small machine's memory."""

from __future__ import annotations

import pytest
from fake_machine import FakeMemory


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()
