"""Time under the test's control, and lines that remember what they were told."""

from __future__ import annotations

from ringfence.devices.clock import Clock
from ringfence.devices.irq import Line


class FakeTime:
    """Host time that passes only when told to; alarms run at their exact times."""

    def __init__(self) -> None:
        self.ns = 0
        self.clock = Clock(lambda: self.ns)

    def advance(self, ns: int) -> None:
        end = self.ns + ns
        while (deadline := self.clock.next_deadline_ns()) is not None and deadline <= end:
            self.ns = max(self.ns, deadline)
            self.clock.run_due()
        self.ns = end

    def stall(self, ns: int) -> None:
        """Time passes and nobody runs the alarms; then they run once."""
        self.ns += ns
        self.clock.run_due()


class Recorder(Line):
    """A line that counts its rising edges."""

    def __init__(self) -> None:
        super().__init__(self._see)
        self.edges = 0

    def _see(self, level: bool) -> None:
        self.edges += level
