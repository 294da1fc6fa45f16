"""An instruction whose operand lies on a bus does what it does in RAM.

Each access leaves to the VMM and the instruction is run again from its start; the outcome must not
show it. The reference is the vCPU itself with the operand in RAM, which the host judges.
"""

from __future__ import annotations

import pytest
import sequence
from assemble import Variant, variants
from compare import state_differences
from generate import draw
from guest import Guest, MmioGuest, TranslatedMmioGuest
from host_judge import HostJudge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from values import Source
from x86_table import Row, read_rows

DRAW_BYTES = 48
#: but RF, which the fault at the end of a block sets
ALL_FLAGS = 0xFFFF

ROWS: dict[str, list[tuple[Row, Variant]]] = {}
for _row in read_rows():
    for _variant in variants(_row, 64):
        if "user" in _row.attributes and (_variant.is_memory or _row.mnemonic.startswith("maskmov")):
            ROWS.setdefault(_row.mnemonic, []).append((_row, _variant))


@pytest.fixture(scope="module")
def in_ram() -> Guest:
    return Guest()


@pytest.fixture(scope="module", params=[MmioGuest, TranslatedMmioGuest])
def on_bus(request: pytest.FixtureRequest) -> Guest:
    guest: Guest = request.param()
    return guest


@pytest.mark.parametrize("mnemonic", ROWS)
def test_a_bus_is_as_good_as_ram(mnemonic: str, in_ram: Guest, on_bus: Guest) -> None:
    @settings(
        max_examples=6, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(data: bytes) -> None:
        for row, variant in ROWS[mnemonic]:
            sample = draw(row, variant, Source(data))
            found = state_differences(in_ram.run(sample.case), on_bus.run(sample.case), ALL_FLAGS)
            assert not found, f"{sample}: {found}"

    compare()


def test_a_bus_is_as_good_as_ram_in_sequences(in_ram: Guest, on_bus: Guest) -> None:
    """Blocks are left from the middle, and gone on with there."""
    judge = HostJudge()

    @settings(
        max_examples=600, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=192, max_size=192))
    def compare(data: bytes) -> None:
        case, drawn = sequence.draw(Source(data), 8, judge.has)
        outcome = in_ram.run_through(case)
        found = state_differences(outcome, on_bus.run_through(case), drawn.defined(outcome))
        assert not found, f"{case}: {found}"

    compare()
    judge.close()
