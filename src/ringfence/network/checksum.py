"""The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.

In ones' complement 2**16 is 1, so the sum of the words is the whole number modulo 0xFFFF: one division,
done in C, instead of a loop.
"""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview


def word_sum(data: Buffer) -> int:
    """The sum of ``data`` as big-endian words, padded with a zero byte, not complemented."""
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        total <<= 8
    folded = total % 0xFFFF
    # 0 and 0xFFFF are the same number; only all zeros are written as 0
    return folded or (0xFFFF if total else 0)


def fold(total: int) -> int:
    """A sum of word sums as one."""
    folded = total % 0xFFFF
    return folded or (0xFFFF if total else 0)


def checksum(data: Buffer, start: int = 0) -> int:
    """What goes into a checksum field that was zero in ``data``; ``start`` is a sum to begin with."""
    return fold(word_sum(data) + start) ^ 0xFFFF


def pseudo_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo header of TCP, UDP and ICMPv6, for addresses of either family."""
    return fold(word_sum(source) + word_sum(destination) + protocol + (length >> 16) + (length & 0xFFFF))
