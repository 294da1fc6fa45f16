"""The typist: in order, as the guest reads, and bounded."""

from __future__ import annotations

import pytest

from ringfence.devices.clock import Clock
from ringfence.errors import UserError
from ringfence.vmm import keyboard as module
from ringfence.vmm.keyboard import Keyboard


class SmallKeyboard:
    """Holds two keystrokes until they are read."""

    def __init__(self) -> None:
        self.held: list[str] = []

    def type_text(self, text: str) -> int:
        taken = text[: 2 - len(self.held)]
        self.held += taken
        return len(taken)

    def press(self, *names: str) -> bool:
        if len(self.held) >= 2:
            return False
        self.held.append("+".join(names))
        return True


def test_keys_arrive_in_order_as_the_guest_reads_them() -> None:
    ns = 0
    clock = Clock(lambda: ns)
    keys, keyboard = SmallKeyboard(), Keyboard(post=lambda work: work())
    keyboard.type_text("abc")
    keyboard.attach(keys, clock)
    keyboard.press("ctrl", "c")
    keyboard.type_text("d")
    read: list[str] = []
    for _ in range(4):
        read += keys.held
        keys.held.clear()
        ns += module.RETRY_NS
        clock.run_due()
    assert read == ["a", "b", "c", "ctrl+c", "d"]
    assert clock.next_deadline_ns() is None


def test_a_guest_that_never_reads_costs_no_more_than_the_limit() -> None:
    keyboard = Keyboard(post=lambda work: work())
    keyboard.type_text("x" * module.WAITING_LIMIT)
    with pytest.raises(UserError, match="does not read"):
        keyboard.type_text("y")


def test_a_key_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="'any'"):
        Keyboard(post=lambda work: work()).press("any")
