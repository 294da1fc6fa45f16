"""Random sequences of instructions against the host: run as blocks, and again from the cache of blocks.

The other tests step through single instructions; here each engine runs its own way: lazy flags, blocks
and the jumps between them. Flags that nothing reads are lost at a fault if the translator may leave
them out; everything else is exact in the middle of a block too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sequence
from case import NONE
from compare import state_differences
from guest import Guest, TranslatedGuest
from host_judge import HostJudge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iced_x86 import Decoder, Formatter, FormatterSyntax
from values import Source

DRAW_BYTES = 192


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    yield found
    found.close()


class LazyGuest(TranslatedGuest):
    """The translator as it runs by default."""

    has_exact_flags = False


@pytest.fixture(scope="module", params=[Guest, TranslatedGuest, LazyGuest])
def guest(request: pytest.FixtureRequest) -> Guest:
    guest: Guest = request.param()
    return guest


def listing(code: bytes) -> str:
    formatter = Formatter(FormatterSyntax.NASM)
    return "\n".join(f"{i.ip:3x}: {formatter.format(i)}" for i in Decoder(64, code))


def examine(judge: HostJudge, guest: Guest, count: int, samples: int) -> None:
    @settings(
        max_examples=samples, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=DRAW_BYTES, max_size=DRAW_BYTES))
    def compare(data: bytes) -> None:
        case, drawn = sequence.draw(Source(data), count, judge.has)
        outcome = judge.run([case])[0]
        flags = drawn.defined(outcome) if outcome.vector == NONE or guest.has_exact_flags else 0
        for time in ("first", "again"):
            found = state_differences(outcome, guest.run_through(case), flags)
            assert not found, f"{time}: {found}\n{listing(case.code)}\n{case}"

    compare()


@pytest.mark.parametrize("count", [2, 4, 8, 24])
def test_host_agrees_on_sequences(judge: HostJudge, guest: Guest, count: int) -> None:
    examine(judge, guest, count, 1500)


@pytest.mark.nightly
@pytest.mark.parametrize("count", [2, 3, 5, 8, 16, 40])
def test_host_agrees_on_many_sequences(judge: HostJudge, guest: Guest, count: int) -> None:
    examine(judge, guest, count, 100_000)
