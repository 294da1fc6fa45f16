"""A guest on a user network of its own, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fake_station import Station

MakeStation = Callable[..., Station]


@pytest.fixture
def make_station() -> Iterator[MakeStation]:
    made: list[Station] = []

    def make(**values: object) -> Station:
        made.append(Station(**values))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for station in made:
        station.close()


@pytest.fixture
def station(make_station: MakeStation) -> Station:
    return make_station()
