"""The guest's keyboard from the host's side: a typist who waits while the guest does not read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from ringfence.devices.clock import Alarm, Clock
from ringfence.devices.legacy import keymap
from ringfence.errors import UserError

#: Keystrokes that may wait; a guest that never reads its keyboard costs no more than this.
WAITING_LIMIT = 1 << 16
#: How soon a full keyboard is tried again, in guest time.
RETRY_NS = 10_000_000


class Keys(Protocol):
    """A keyboard device: takes what it has room for."""

    def press(self, *names: str) -> bool: ...

    def type_text(self, text: str) -> int: ...


class Keyboard:
    """Type on the guest's PS/2 keyboard (US layout).

    Example:
        >>> vm.keyboard.type_text("root\\n")
        >>> vm.keyboard.press("ctrl", "alt", "delete")
    """

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        """``post`` runs work on the vCPU's thread."""
        self._post = post
        self._lock = threading.Lock()
        #: what is typed next: text, or names of keys pressed together
        self._waiting: list[str | tuple[str, ...]] = []
        self._keys: Keys | None = None
        self._clock: Clock | None = None
        self._retry: Alarm | None = None

    def type_text(self, text: str) -> None:
        """Type ``text``; returns at once. A character that has no key is skipped.

        Raises:
            UserError: too much is waiting already for a guest that does not read.
        """
        self._add(text)

    def press(self, *names: str) -> None:
        """Press keys together, in this order: ``press("ctrl", "alt", "delete")``, ``press("f1")``.

        Raises:
            UserError: there is no such key, or too much is waiting.
        """
        for name in names:
            if not keymap.is_key(name):
                raise UserError(f"no key {name!r}")
        self._add(names)

    def attach(self, keys: Keys, clock: Clock) -> None:
        """The keyboard of the board, again after each reboot."""
        self._keys = keys
        self._clock = clock
        self._retry = clock.alarm(self._pump)
        self._post(self._pump)

    def _add(self, item: str | tuple[str, ...]) -> None:
        with self._lock:
            waiting = sum(map(len, self._waiting))
            if waiting + len(item) > WAITING_LIMIT:
                raise UserError(f"the guest does not read its keyboard: {waiting} keystrokes wait already")
            self._waiting.append(item)
        self._post(self._pump)

    def _pump(self) -> None:
        """Hand what waits to the device; what it has no room for, later."""
        if self._keys is None or self._clock is None or self._retry is None:
            return
        with self._lock:
            while self._waiting:
                item = self._waiting.pop(0)
                if isinstance(item, str):
                    left = item[self._keys.type_text(item) :]
                    if left:
                        self._waiting.insert(0, left)
                        break
                elif not self._keys.press(*item):
                    self._waiting.insert(0, item)
                    break
            if self._waiting:
                self._retry.set(self._clock.now_ns() + RETRY_NS)
