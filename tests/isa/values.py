"""Values at the edges, drawn from hypothesis' bytes: zeros draw the simplest value of everything."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

MASK_64 = (1 << 64) - 1
EDGES = (
    0, 1, MASK_64, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x7FFF_FFFF,
    0x8000_0000, 0xFFFF_FFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, MASK_64 - 1, 0x0F, 0x10,
    0x1F, 0x20, 0x3F, 0x40, 0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, 0xFFFF_FFFF_8000_0000,
    0xFFFF_FFFF_FFFF_FF80, 0x99, 0x9A,
)  # fmt: skip

SINGLES = tuple(
    struct.pack("<I", bits)
    for bits in (
        0, 0x8000_0000, 0x3F80_0000, 0xBF80_0000, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001,
        0xFFC1_2345, 1, 0x8000_0001, 0x007F_FFFF, 0x0080_0000, 0x7F7F_FFFF, 0xFF7F_FFFF, 0x4F00_0000,
        0xCF00_0000, 0x5F00_0000, 0x3F00_0000, 0x3FC0_0000, 0x4020_0000, 0x4B00_0001, 0x3EAA_AAAB,
        0x4049_0FDB,
    )
)  # fmt: skip
DOUBLES = tuple(
    struct.pack("<Q", bits)
    for bits in (
        0, 1 << 63, 0x3FF0 << 48, 0xBFF0 << 48, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48,
        (0x7FF0 << 48) + 1, 0xFFF8_0000_1234_5678, 1, (1 << 63) + 1, (1 << 52) - 1, 1 << 52,
        0x7FEF_FFFF_FFFF_FFFF, 0xFFEF_FFFF_FFFF_FFFF, 0x41DF_FFFF_FFC0_0000, 0x41E0 << 48,
        0xC1E0_0000_0020_0000, 0x43E0 << 48, 0xC3E0 << 48, 0x3FE0 << 48, 0x3FF8 << 48, 0x4004 << 48,
        0x36A0 << 48, 0x47EF_FFFF_E000_0000, 0x3FD5_5555_5555_5555, 0x4009_21FB_5444_2D18,
    )
)  # fmt: skip


def _extended(sign: int, exponent: int, significand: int) -> bytes:
    return struct.pack("<QH", significand, sign << 15 | exponent)


#: 80-bit: zeros, ones, infinities, NaNs, denormals, the invalid encodings of SDM vol. 1, table 8-3, constants
EXTENDED = tuple(
    _extended(*parts)
    for parts in (
        (0, 0, 0), (1, 0, 0), (0, 0x3FFF, 1 << 63), (1, 0x3FFF, 1 << 63), (0, 0x7FFF, 1 << 63),
        (1, 0x7FFF, 1 << 63), (0, 0x7FFF, 3 << 62), (1, 0x7FFF, 3 << 62), (0, 0x7FFF, (1 << 63) + 1),
        (1, 0x7FFF, (3 << 62) + 5), (0, 0, 1), (1, 0, (1 << 63) - 1), (0, 0, 1 << 63), (0, 1, 1 << 63),
        (0, 0x7FFE, MASK_64), (0, 0x7FFF, 0), (0, 0x4000, 1), (1, 0x7FFF, 1), (0, 0x3FFE, 1 << 63),
        (1, 0x3FFE, 3 << 62), (0, 0x4000, 0xC90F_DAA2_2168_C235), (0, 0x3FFD, 0x9A20_9A84_FBCF_F799),
        (0, 0x401E, MASK_64), (0, 0x403E, 1 << 63), (1, 0x403E, 1 << 63), (0, 0x403D, MASK_64 - 1),
        (0, 0x3BFF, 0x8765_4321_1234_5678), (0, 0x3F7F, 0xFFFF_FF80_0000_0000), (0, 0x3FFF, 3 << 62),
        (0, 0x4000, 5 << 61), (0, 0x407E, MASK_64),
    )
)  # fmt: skip


class Source:
    """A stream of choices: hypothesis' bytes first, then bytes that follow from them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.random = Random(zlib.crc32(data))

    def byte(self) -> int:
        self.at += 1
        if self.at <= len(self.data):
            return self.data[self.at - 1]
        return self.random.getrandbits(8)

    def below(self, n: int) -> int:
        return self.byte() % n

    def one_in(self, n: int) -> bool:
        """True rarely; never for a zero byte."""
        return self.byte() % n == n - 1

    def pick(self, options: Sequence[T]) -> T:
        at = self.byte() if len(options) <= 256 else self.byte() << 8 | self.byte()
        return options[at % len(options)]

    def value(self) -> int:
        """A 64-bit number, often at an edge, often small."""
        kind = self.byte()
        if kind < 100:
            return EDGES[kind % len(EDGES)]
        if kind < 130:
            return self.byte()
        if kind < 150:
            return self.random.getrandbits(kind & 63)
        return self.random.getrandbits(64)

    def vector(self) -> bytes:
        """128 bits that mean something as floats, or integers."""
        kind = self.byte()
        if kind < 60:
            return b"".join(SINGLES[self.random.randrange(len(SINGLES))] for _ in range(4))
        if kind < 120:
            return b"".join(DOUBLES[self.random.randrange(len(DOUBLES))] for _ in range(2))
        if kind < 160:
            # everyday floats, of any size that adds up with the others
            near = [(self.random.random() - 0.5) * 10.0 ** self.random.randrange(-3, 12) for _ in range(4)]
            return struct.pack("<4f", *near) if kind & 1 else struct.pack("<2d", *near[:2])
        if kind < 200:
            return struct.pack("<2Q", self.value(), self.value())
        return self.random.randbytes(16)

    def extended(self) -> bytes:
        """80 bits of an x87 register."""
        kind = self.byte()
        if kind < 128:
            return EXTENDED[kind % len(EXTENDED)]
        significand = self.random.getrandbits(64) | 1 << 63
        if kind < 200:
            return _extended(kind & 1, 0x3FFF + self.random.randrange(-70, 70), significand)
        if kind < 225:
            whole = self.random.randrange(1, 1000)
            return _extended(kind & 1, 0x3FFE + whole.bit_length(), whole << (64 - whole.bit_length()))
        if kind < 240:
            return _extended(kind & 1, self.random.getrandbits(15), significand)
        return self.random.randbytes(10)
