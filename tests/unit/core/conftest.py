"""What drives the rig's processor is tested with both engines; the translator's own tests choose theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig import Rig

ENGINES = ("interpret", "translate")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chooses = metafunc.module.__name__.rpartition(".")[2].startswith("test_translate")
    if getattr(metafunc.module, "Rig", None) is Rig and not chooses:
        metafunc.fixturenames.insert(0, "engine_of_rigs")
        metafunc.parametrize("engine_of_rigs", ENGINES, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine_of_rigs(request: pytest.FixtureRequest) -> Iterator[None]:
    """What `Rig` runs guest code with. Fixtures of a module that make rigs name it."""
    before, Rig.engine = Rig.engine, request.param
    yield
    Rig.engine = before
