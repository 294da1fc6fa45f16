"""The keyboard controller with its keyboard and mouse."""

from __future__ import annotations

import pytest
from fake_time import Recorder

from ringfence.devices.legacy import keymap
from ringfence.devices.legacy.i8042 import I8042
from ringfence.devices.legacy.ps2 import EVENT_LIMIT

DATA, STATUS = 0, 4
FULL, AUX = 0x01, 0x20


class Controller(I8042):
    def __init__(self) -> None:
        self.irq1, self.irq12 = Recorder(), Recorder()
        self.resets: list[int] = []
        super().__init__(self.irq1, self.irq12, lambda: self.resets.append(1))

    def order(self, value: int, *data: int) -> None:
        self.write(STATUS, 1, value)
        self.send(*data)

    def send(self, *data: int) -> None:
        for byte in data:
            self.write(DATA, 1, byte)

    def drain(self) -> bytes:
        out = bytearray()
        while self.read(STATUS, 1) & FULL:
            out.append(self.read(DATA, 1))
            assert len(out) < 100_000
        return bytes(out)

    def answer(self, *data: int) -> str:
        self.send(*data)
        return self.drain().hex()

    def mouse_answer(self, *data: int) -> str:
        for byte in data:
            self.order(0xD4, byte)
        return self.drain().hex()


@pytest.fixture
def kbc() -> Controller:
    return Controller()


@pytest.fixture
def raw(kbc: Controller) -> Controller:
    """Translation off."""
    kbc.order(0x60, 0x25)
    return kbc


def test_self_tests_and_fixed_answers(kbc: Controller) -> None:
    for command, answer in ((0xAA, 0x55), (0xAB, 0x00), (0xA9, 0x00), (0xA4, 0xF1), (0xC0, 0x80)):
        kbc.order(command)
        assert kbc.read(STATUS, 1) & FULL
        assert kbc.read(DATA, 1) == answer
        assert not kbc.read(STATUS, 1) & FULL


def test_command_byte_and_ram(kbc: Controller) -> None:
    kbc.order(0x20)
    assert kbc.read(DATA, 1) == 0x65
    kbc.order(0x60, 0x47)
    kbc.order(0x20)
    assert kbc.read(DATA, 1) == 0x47
    kbc.order(0x7F, 0xAB)
    kbc.order(0x3F)
    assert kbc.read(DATA, 1) == 0xAB


def test_disabling_and_enabling_shows_in_the_command_byte(kbc: Controller) -> None:
    for command, byte in ((0xAD, 0x75), (0xA8, 0x55), (0xA7, 0x75), (0xAE, 0x65)):
        kbc.order(command)
        kbc.order(0x20)
        assert kbc.read(DATA, 1) == byte


def test_the_status_tells_the_last_port_written(kbc: Controller) -> None:
    kbc.write(STATUS, 1, 0xAE)
    assert kbc.read(STATUS, 1) == 0x1C
    kbc.write(DATA, 1, 0xEE)
    assert kbc.read(STATUS, 1) == 0x15


def test_keyboard_commands(raw: Controller) -> None:
    assert raw.answer(0xFF) == "faaa"
    assert raw.answer(0xF2) == "faab83"
    assert raw.answer(0xEE) == "ee"
    assert raw.answer(0xED, 0x02) == "fafa"
    assert raw.keyboard.leds == 2
    assert raw.answer(0xF3, 0x20) == "fafa"
    assert raw.answer(0xF0, 0x00) == "fafa02"
    assert raw.answer(0xF0, 0x03) == "fafa"
    assert raw.answer(0xF0, 0x00) == "fafa03"
    assert raw.answer(0xF0, 0x07) == "fafe"
    assert raw.answer(0xF6) == "fa"
    assert raw.answer(0xF0, 0x00) == "fafa02"
    assert raw.answer(0xFE) == "02", "resend"
    assert raw.answer(0xF8) == "fa"
    assert raw.answer(0x12) == "fe"
    assert raw.answer(0xED, 0xF2) == "fafaab83", "a command where a parameter was due"


def test_translated_answers(kbc: Controller) -> None:
    assert kbc.answer(0xF2) == "faab41"
    assert kbc.answer(0xF0, 0x00) == "fafa41"


@pytest.mark.parametrize(
    ("keys", "set_1", "set_2", "set_3"),
    [
        (("a",), "1e9e", "1cf01c", "1cf01c"),
        (("ctrl", "c"), "1d2eae9d", "1421f021f014", "1121f021f011"),
        (("up",), "e048e0c8", "e075e0f075", "63f063"),
        (("f7",), "41c1", "83f083", "37f037"),
        (("pause",), "e11d45e19dc5", "e11477e1f014f077", "62f062"),
        (("printscreen",), "e02ae037e0b7e0aa", "e012e07ce0f07ce0f012", "57f057"),
        (("esc",), "0181", "76f076", "08f008"),
    ],
)
def test_scan_codes(raw: Controller, keys: tuple[str, ...], set_1: str, set_2: str, set_3: str) -> None:
    for number, codes in ((1, set_1), (2, set_2), (3, set_3)):
        raw.answer(0xF0, number)
        raw.keyboard.press(*keys)
        assert raw.drain().hex() == codes
    raw.order(0x60, 0x65)
    raw.answer(0xF0, 2)
    raw.keyboard.press(*keys)
    assert raw.drain().hex() == set_1, "the controller translates to set 1"


def test_typing(kbc: Controller) -> None:
    assert kbc.keyboard.type_text("l?\n") == 3
    assert kbc.drain().hex() == "26a6" + "2a35b5aa" + "1c9c"
    assert kbc.keyboard.type_text("é") == 1
    assert kbc.drain() == b""


def test_every_key_has_its_own_codes(raw: Controller) -> None:
    for number in (1, 2, 3):
        codes = [keymap.encode(name, True, number) for name in keymap.KEYS]
        assert len(set(codes)) == len(codes) > 100
    assert {key for key, _ in keymap.CHARACTERS.values()} <= set(keymap.KEYS)
    with pytest.raises(ValueError, match="no such key"):
        raw.keyboard.press("hyper")


def test_each_byte_is_an_edge_on_irq_1(kbc: Controller) -> None:
    kbc.keyboard.press("a")
    assert (kbc.irq1.level, kbc.irq1.edges) == (True, 1)
    kbc.read(DATA, 1)
    assert (kbc.irq1.level, kbc.irq1.edges) == (True, 2)
    kbc.read(DATA, 1)
    assert not kbc.irq1.level
    assert kbc.read(DATA, 1) == 0x9E, "the empty buffer keeps its byte"


def test_no_interrupt_unless_enabled(kbc: Controller) -> None:
    kbc.order(0x60, 0x64)
    kbc.keyboard.press("a")
    assert kbc.read(STATUS, 1) & FULL
    assert not kbc.irq1.level
    kbc.order(0x60, 0x65)
    assert kbc.irq1.level


def test_a_disabled_keyboard_waits(kbc: Controller) -> None:
    kbc.order(0xAD)
    kbc.keyboard.press("a")
    assert not kbc.read(STATUS, 1) & FULL
    kbc.order(0xAE)
    assert kbc.drain().hex() == "1e9e"
    kbc.answer(0xF5)
    kbc.keyboard.press("b")
    assert kbc.drain() == b""
    assert kbc.answer(0xF4) == "fa30b0"


def test_replies_come_before_keys(raw: Controller) -> None:
    raw.keyboard.type_text("ab")
    assert raw.read(DATA, 1) == 0x1C
    raw.send(0xEE)
    assert raw.drain().hex() == "f01c" + "ee" + "32f032", "a key's own bytes stay together"


def test_a_guest_that_never_reads_stops_the_typist(kbc: Controller) -> None:
    kbc.keyboard.type_text("x")
    taken = kbc.keyboard.type_text("y" * 10_000)
    assert taken < EVENT_LIMIT
    assert not kbc.keyboard.press("a", "b")
    assert kbc.drain().hex() == "2dad" + "1595" * taken
    for _ in range(1000):
        kbc.send(0xF2)
        kbc.write(STATUS, 1, 0xAA)
    assert len(kbc.drain()) < 100


def test_mouse(kbc: Controller) -> None:
    kbc.order(0x60, 0x47)
    assert kbc.mouse_answer(0xFF) == "faaa00"
    assert kbc.mouse_answer(0xF2) == "fa00"
    assert kbc.mouse_answer(0xF3, 40) == "fafa"
    assert kbc.mouse_answer(0xE8, 3) == "fafa"
    assert kbc.mouse_answer(0xE7) == "fa"
    assert kbc.mouse_answer(0xF4) == "fa"
    assert kbc.mouse_answer(0xE9) == "fa300328"
    assert kbc.mouse_answer(0xEB) == "fa080000"
    assert kbc.mouse_answer(0x11) == "fe"
    assert kbc.mouse_answer(0xF6) == "fa"
    kbc.order(0xD4, 0xF2)
    assert kbc.read(STATUS, 1) & (FULL | AUX) == FULL | AUX
    assert kbc.irq12.level
    assert not kbc.irq1.level


def test_loops_through_the_output_buffers(kbc: Controller) -> None:
    kbc.order(0x60, 0x47)
    kbc.order(0xD3, 0x5A)
    assert kbc.irq12.level
    assert kbc.read(STATUS, 1) & AUX
    assert kbc.read(DATA, 1) == 0x5A
    kbc.order(0xD2, 0xA5)
    assert kbc.irq1.level
    assert not kbc.read(STATUS, 1) & AUX
    assert kbc.read(DATA, 1) == 0xA5


def test_output_port_and_a20(kbc: Controller) -> None:
    kbc.order(0xD0)
    assert kbc.read(DATA, 1) & 0x03 == 0x03
    kbc.order(0xD1, 0x01)
    kbc.order(0xD0)
    assert kbc.read(DATA, 1) & 0x03 == 0x01
    kbc.order(0xDF)
    kbc.order(0xD0)
    assert kbc.read(DATA, 1) & 0x02
    assert not kbc.resets


def test_resets(kbc: Controller) -> None:
    kbc.order(0xFF)
    assert not kbc.resets, "pulses no line"
    kbc.order(0xFE)
    assert len(kbc.resets) == 1
    kbc.order(0xD1, 0x02)
    assert len(kbc.resets) == 2


def test_a_command_replaces_one_that_waits(kbc: Controller) -> None:
    kbc.order(0xD4)
    kbc.order(0xAE)
    kbc.send(0xEE)
    assert kbc.drain() == b"\xee", "went to the keyboard"


def test_any_bytes_are_survived(kbc: Controller) -> None:
    for command in range(256):
        for data in (0, 0x55, 0xF0, 0xFF):
            kbc.order(command, data)
            kbc.read(DATA, 1)
        kbc.drain()


def test_save_and_restore(kbc: Controller) -> None:
    kbc.answer(0xED, 0x07)
    kbc.keyboard.type_text("Hi")
    kbc.read(DATA, 1)
    other = Controller()
    other.restore(kbc.save())
    assert other.save() == kbc.save()
    assert other.irq1.level
    assert other.drain() == kbc.drain()
    kbc.reset()
    assert kbc.keyboard.leds == 0
    assert kbc.drain() == b""
