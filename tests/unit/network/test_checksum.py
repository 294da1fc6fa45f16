"""The checksum, against the sum as RFC 1071 writes it."""

from __future__ import annotations

import struct

from fake_station import ones_sum
from hypothesis import given
from hypothesis import strategies as st

from ringfence.network.checksum import checksum, fold, pseudo_sum, word_sum

DATA = st.binary(max_size=200) | st.sampled_from([b"\xff\xff" * 3, bytes(5), b"\xff\xfe\x00\x01"])


@given(DATA)
def test_the_sum_of_words(data: bytes) -> None:
    assert word_sum(data) == ones_sum(data)


@given(st.binary(min_size=2, max_size=200).filter(lambda data: len(data) % 2 == 0))
def test_what_is_filled_in_makes_it_whole(data: bytes) -> None:
    whole = b"\0\0" + data
    filled = checksum(whole).to_bytes(2, "big") + data
    assert ones_sum(filled) in (0xFFFF, 0)


def test_a_sum_to_begin_with() -> None:
    assert checksum(b"\x12\x34", 0xFFFF) == checksum(b"\x12\x34")
    assert fold(0x1_FFFE) == 0xFFFF
    assert fold(0) == 0


def test_the_pseudo_header() -> None:
    source, destination = bytes(range(4)), bytes(range(4, 8))
    written = source + destination + struct.pack(">BBH", 0, 6, 1234)
    assert pseudo_sum(source, destination, 6, 1234) == ones_sum(written)
    source, destination = bytes(range(16)), bytes(range(16, 32))
    written = source + destination + struct.pack(">II", 70000, 58)
    assert pseudo_sum(source, destination, 58, 70000) == ones_sum(written)
