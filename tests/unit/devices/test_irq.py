"""Lines: a sink hears of changes only."""

from __future__ import annotations

from ringfence.devices.irq import Line


def test_a_sink_hears_changes_only() -> None:
    seen: list[bool] = []
    line = Line(seen.append)
    line.lower()
    line.raise_()
    line.raise_()
    line.set(False)
    assert seen == [True, False]


def test_a_pulse_is_an_edge() -> None:
    seen: list[bool] = []
    Line(seen.append).pulse()
    assert seen == [True, False]


def test_connecting_tells_the_level() -> None:
    line = Line()
    line.raise_()
    seen: list[bool] = []
    line.connect(seen.append)
    assert seen == [True]
