"""A test session runs the core that its sources say, or none."""

from __future__ import annotations

import pytest

from ringfence.core.fingerprint import is_fresh


def pytest_sessionstart(session: pytest.Session) -> None:
    if not is_fresh():
        pytest.exit("the compiled core is stale: run `pip install -e .` again", returncode=3)
