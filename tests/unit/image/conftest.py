"""Fixtures: a mirror and an empty cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_mirror import Mirror

from ringfence.image.cache import Cache


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")
