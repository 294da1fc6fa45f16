"""An instruction whose operand lies on a bus does what it does in RAM.

Each access leaves to the VMM and the instruction is run again from its start; the outcome must not
show it. The reference is the vCPU itself with the operand in RAM, which the host judges.
"""

from __future__ import annotations

import pytest
from assemble import Variant, variants
from generate import draw
from guest import Guest, MmioGuest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from values import Source
from x86_table import Row, read_rows

DRAW_BYTES = 48

ROWS: dict[str, list[tuple[Row, Variant]]] = {}
for _row in read_rows():
    for _variant in variants(_row, 64):
        if "user" in _row.attributes and (_variant.is_memory or _row.mnemonic.startswith("maskmov")):
            ROWS.setdefault(_row.mnemonic, []).append((_row, _variant))


@pytest.fixture(scope="module")
def in_ram() -> Guest:
    return Guest()


@pytest.fixture(scope="module")
def on_bus() -> MmioGuest:
    return MmioGuest()


@pytest.mark.parametrize("mnemonic", ROWS)
def test_a_bus_is_as_good_as_ram(mnemonic: str, in_ram: Guest, on_bus: MmioGuest) -> None:
    @settings(
        max_examples=6, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(data: bytes) -> None:
        for row, variant in ROWS[mnemonic]:
            sample = draw(row, variant, Source(data))
            assert on_bus.run(sample.case) == in_ram.run(sample.case), str(sample)

    compare()
