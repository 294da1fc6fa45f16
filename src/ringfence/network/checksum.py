"""The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.

In ones' complement 2**16 is 1, so sums of words are added as numbers and taken modulo 0xFFFF in the end.
"""

from __future__ import annotations

from ringfence.core.host.word_sum import word_sum

Buffer = bytes | bytearray | memoryview


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
