"""Interrupt lines: what a device holds in its hand to get the processor's attention."""

from __future__ import annotations

from collections.abc import Callable


class Line:
    """One wire from a device to an interrupt controller.

    The controller gives ``sink(level)``; it is called only when the level changes.

    Attributes:
        is_heard: whether the wire leads anywhere; a timer whose wire is cut need not tick.
        on_hearing: called when that changes.
    """

    def __init__(self, sink: Callable[[bool], None] | None = None) -> None:
        self._sink = sink
        self.level = False
        self.is_heard = True
        self.on_hearing: Callable[[], None] | None = None

    def connect(self, sink: Callable[[bool], None]) -> None:
        """Plug the line into a controller and tell it the level of now."""
        self._sink = sink
        sink(self.level)

    def set(self, level: bool) -> None:
        if level != self.level:
            self.level = level
            if self._sink is not None:
                self._sink(level)

    def hear(self, is_heard: bool) -> None:
        """Cut the wire, or mend it."""
        if is_heard != self.is_heard:
            self.is_heard = is_heard
            if self.on_hearing is not None:
                self.on_hearing()

    def raise_(self) -> None:
        self.set(True)

    def lower(self) -> None:
        self.set(False)

    def pulse(self) -> None:
        """An edge: up and down."""
        self.set(True)
        self.set(False)
