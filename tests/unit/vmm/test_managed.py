"""What the process of a managed machine keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.api.places import Place
from ringfence.api.spec import Spec
from ringfence.vmm.managed import jail_plan
from ringfence.vmm.translation_cache import TranslationCache


@pytest.mark.parametrize("has_cache", [True, False])
def test_translations_are_read_and_not_added_to(
    has_cache: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a guest that has broken out wrote there would be run by other machines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = Place("one", tmp_path / "state", tmp_path / "run")
    spec = Spec("one", {"kernel": str(tmp_path / "kernel"), "translation_cache": has_cache})
    plan = jail_plan(place, spec)
    directory = TranslationCache().directory
    assert (directory in plan.readable) == has_cache == directory.is_dir()
    assert set(plan.writable) == {place.directory, place.runtime}
