"""A periodic timer's ticks, for guests that may be slower than their timer.

A tick that falls due while the guest has not seen the one before is *owed*: owed ticks come at
twice the rate until the guest has caught up, a few at most; the rest are lost. So a guest that
counts ticks keeps the time over a short stall, and a long one does not drown it in interrupts.
"""

from __future__ import annotations

from collections.abc import Callable

from ringfence.devices.clock import MIN_PERIOD_NS, Clock
from ringfence.devices.device import Record
from ringfence.devices.legacy.registers import restore_fields, save_fields

OWED_LIMIT = 20

_STATE = ("epoch_ns", "period", "ticks", "owed", "is_running")


class Ticker:
    """Calls ``callback`` at epoch + n * numerator / denominator ns for n = 1, 2, 3…"""

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._alarm = clock.alarm(self._fire)
        self.epoch_ns = 0
        #: (numerator, denominator): few PC timers have a period in whole nanoseconds
        self.period = [1, 1]
        self.ticks = 0
        self.owed = 0
        self.is_running = False
        self._is_muted = False

    def start(self, epoch_ns: int, numerator: int, denominator: int = 1) -> None:
        self.epoch_ns, self.period = epoch_ns, [numerator, denominator]
        self.owed = 0
        self.is_running = True
        self.ticks = self._elapsed(self._clock.now_ns())
        self._set_alarm(self._clock.now_ns())

    def mute(self, is_muted: bool) -> None:
        """While nobody hears the ticks there are none: no guest is woken for them, and none is owed later."""
        self._is_muted = is_muted
        if self.is_running:
            now = self._clock.now_ns()
            self.ticks, self.owed = self._elapsed(now), 0
            self._set_alarm(now)

    def stop(self) -> None:
        self.is_running = False
        self._alarm.cancel()

    def _elapsed(self, now: int) -> int:
        return max(0, (now - self.epoch_ns) * self.period[1] // self.period[0])

    def _fire(self) -> None:
        now = self._clock.now_ns()
        ticks = self._elapsed(now)
        self.owed = min(self.owed + ticks - self.ticks, OWED_LIMIT)
        self.ticks = ticks
        if self.owed > 0:
            self.owed -= 1
            self._callback()
        if self.is_running:
            self._set_alarm(now)

    def _set_alarm(self, now: int) -> None:
        if self._is_muted:
            self._alarm.cancel()
            return
        numerator, denominator = self.period
        deadline = self.epoch_ns - (-(self.ticks + 1) * numerator // denominator)
        if self.owed > 0:
            deadline = min(deadline, now + numerator // (2 * denominator))
        self._alarm.set(max(deadline, now + MIN_PERIOD_NS))

    def save(self) -> Record:
        return save_fields(self, _STATE)

    def restore(self, record: Record) -> None:
        restore_fields(self, record, _STATE)
        self._alarm.cancel()
        if self.is_running:
            self._set_alarm(self._clock.now_ns())
