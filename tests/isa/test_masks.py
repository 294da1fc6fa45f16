"""Memory operands under an opmask, at the end of what is mapped: which elements fault, judged by the host."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import generate
import pytest
from assemble import Memory, Variant, encode, variants
from assemble_vector import has_opmask, mask_element, memory_bytes
from case import DATA, DATA_BYTES, RBX, WINDOW_BYTES
from compare import differences, report
from examine import DRAW_BYTES, FLAGS_COMPARED
from generate import Sample
from guest import Guest
from host_judge import HostJudge
from values import Source
from vector_state import OPMASK
from x86_table import Row, read_rows

SAMPLES = 12
ROWS: dict[str, list[Row]] = {}
for _row in read_rows():
    if "user" in _row.attributes and has_opmask(_row) and _row.form != 2 and "vsib" not in _row.attributes:
        ROWS.setdefault(_row.mnemonic, []).append(_row)


@pytest.fixture(scope="module")
def judge() -> Iterator[HostJudge]:
    found = HostJudge()
    yield found
    found.close()


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest()


def draw(row: Row, variant: Variant, random: Random) -> Sample:
    """An operand of which the last bytes are not mapped, and an opmask with many bits, one or none."""
    sample = generate.draw(row, variant, Source(random.randbytes(DRAW_BYTES)))
    case, choice = sample.case, sample.choice
    size = memory_bytes(row, variant)
    back = random.randrange(size + 2)
    if "align" in row.attributes:
        back = random.choice((0, size))
    choice.opmask, choice.zeroing, choice.prefixes = choice.opmask or 1, 0, b""
    choice.memory = Memory(RBX, None, 0, 0, 4)
    case.regs[RBX] = DATA + DATA_BYTES - back
    case.code = encode(row, variant, choice)
    case.window_at, sample.operand_at = DATA_BYTES - WINDOW_BYTES, 0
    count = max((16 << variant.length) // mask_element(row), 1) if mask_element(row) else 1
    mask = random.choice((0, random.getrandbits(64), 1 << random.randrange(count)))
    at = OPMASK + 8 * choice.opmask
    case.high = case.high[:at] + mask.to_bytes(8, "little") + case.high[at + 8 :]
    return sample


@pytest.mark.parametrize("mnemonic", ROWS)
def test_host_agrees_on_masked_operands(mnemonic: str, judge: HostJudge, guest: Guest) -> None:
    random = Random(mnemonic)
    for row in ROWS[mnemonic]:
        if not judge.has(row.feature):
            pytest.skip(f"the host lacks {row.feature}")
        forms = [variant for variant in variants(row, 64) if variant.is_memory]
        samples = [draw(row, variant, random) for variant in forms for _ in range(SAMPLES)]
        for sample, outcome in zip(samples, judge.run([s.case for s in samples]), strict=True):
            found = differences(sample, outcome, guest.run(sample.case), FLAGS_COMPARED)
            assert not found, report(sample, found)
