"""A text console's registers."""

from __future__ import annotations

import pytest

from ringfence.devices.legacy.vga_text import DATA, INDEX, STATUS, VgaText


@pytest.fixture
def vga() -> VgaText:
    return VgaText()


def put(vga: VgaText, register: int, value: int) -> None:
    vga.write(INDEX, 1, register)
    vga.write(DATA, 1, value)


def test_cursor_starts_at_the_beginning_and_moves(vga: VgaText) -> None:
    """A console adds to the position it reads, so a register that nobody wrote must be 0, not all ones."""
    vga.write(INDEX, 1, 0x0E)
    assert vga.read(DATA, 1) == 0 and vga.cursor == 0
    put(vga, 0x0E, 0x07)
    put(vga, 0x0F, 0xCF)
    assert vga.cursor == 1999
    assert vga.read(DATA, 1) == 0xCF


def test_one_word_writes_index_and_data(vga: VgaText) -> None:
    vga.write(INDEX, 2, 0x500C)
    assert vga.start == 0x5000


def test_registers_that_do_not_exist_read_0_and_keep_nothing(vga: VgaText) -> None:
    before = vga.save()
    put(vga, 0xFF, 0x55)
    assert vga.read(DATA, 1) == 0
    assert vga.save() == before | {"index": 0xFF}


def test_a_loop_that_waits_for_the_retrace_ends(vga: VgaText) -> None:
    seen = [vga.read(STATUS, 1) & 8 for _ in range(4)]
    assert seen == [8, 0, 8, 0]


def test_save_and_restore(vga: VgaText) -> None:
    put(vga, 0x0F, 0x12)
    vga.read(STATUS, 1)
    twin = VgaText()
    twin.restore(vga.save())
    put(vga, 0x0F, 0x34)
    assert twin.cursor == 0x12 and twin.read(STATUS, 1) == 0
    twin.reset()
    assert twin.save() == VgaText().save()
