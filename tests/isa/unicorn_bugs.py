"""Where unicorn (2.1, its core QEMU 5.0) departs from the manuals. Nothing else is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from generate import Sample


@dataclass(frozen=True)
class Bug:
    """An instruction that is not judged where `applies`, and what the manuals say of it."""

    mnemonic: str
    manual: str
    applies: Callable[[Sample], bool]


def in_16_bit_code(sample: Sample) -> bool:
    return sample.variant.mode == 16


def is_wide_selector(sample: Sample) -> bool:
    return sample.row.klass == "sensitive" and sample.variant.width == 32


def always(_: Sample) -> bool:
    return True


BUGS = (
    Bug("test", "APM vol. 3, A.1, group 3: F6 /1 and F7 /1 are TEST; raises #UD", lambda s: s.row.digit == 1),
    Bug("neg", "SDM vol. 2, NEG: CF and AF; wrong with LOCK", lambda s: s.variant.is_locked),
    Bug("movbe", "SDM vol. 1, 3.6.1: operand size; takes it from 66 alone", in_16_bit_code),
    Bug("popcnt", "SDM vol. 1, 3.6.1: operand size; takes it from 66 alone", in_16_bit_code),
    Bug("crc32", "SDM vol. 1, 3.6.1: operand size; takes it from 66 alone", in_16_bit_code),
    Bug("adcx", "SDM vol. 2, ADCX: 66 is part of the opcode; raises #UD", in_16_bit_code),
    Bug("blsi", "SDM vol. 2, BLSI: CF is set if the source is not 0; inverted", always),
    # not a bug: either is allowed, and unicorn and we choose differently
    Bug("push", "SDM vol. 2, PUSH: a selector is zero-extended or moved as 16 bits", is_wide_selector),
    Bug("bextr", "SDM vol. 2, BEXTR: a length of 31 or more keeps bit 31", always),
    Bug("bzhi", "SDM vol. 2, BZHI: a count of 31 keeps bits 30..0; and more keep all", always),
)


def bug_of(sample: Sample) -> Bug | None:
    """The bug that makes unicorn no judge of this case."""
    for bug in BUGS:
        if bug.mnemonic == sample.row.mnemonic and bug.applies(sample):
            return bug
    return None
