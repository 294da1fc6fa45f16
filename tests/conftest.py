"""A test session runs the core that its sources say, or none, and no example of Hypothesis' is timed."""

from __future__ import annotations

import pytest
from hypothesis import settings

from ringfence.core.fingerprint import is_fresh


def pytest_sessionstart(session: pytest.Session) -> None:
    if not is_fresh():
        pytest.exit("the compiled core is stale: run `pip install -e .` again", returncode=3)


# What a host that does something else takes for an example says nothing about it.
settings.register_profile("ringfence", deadline=None)
settings.load_profile("ringfence")
