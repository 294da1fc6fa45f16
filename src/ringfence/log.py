"""Logging: one logger for all of Ringfence, with a lid on what a guest can make it say.

A guest that pokes at a device in a loop would fill a disk with warnings. So each warning, by its place in
the source, passes `BURST` times a second; when it passes again it says how often it was held back. What is
below a warning is shown only to who asked for it, and then all of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger("ringfence")

#: Records a second that one line of source may log.
BURST = 5


class RateLimit(logging.Filter):
    """Lets each call that logs a warning, or worse, through at most `burst` times a second."""

    def __init__(self, burst: int = BURST, seconds: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._burst = burst
        self._seconds = seconds
        #: by place in the source, so bounded by it: start of the window, passed, held back
        self._windows: dict[tuple[str, int], tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        key = (record.pathname, record.lineno)
        now = self._seconds()
        start, passed, held = self._windows.get(key, (now, 0, 0))
        if now - start >= 1:
            start, passed = now, 0
        if passed >= self._burst:
            self._windows[key] = (start, passed, held + 1)
            return False
        if held:
            record.msg = f"{record.msg} ({held} more like this)"
        self._windows[key] = (start, passed + 1, 0)
        return True


def configure(level: int = logging.WARNING) -> None:
    """Send Ringfence's log to stderr, one line a record.

    For the command line: a program that uses the library has its own logging.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("ringfence: %(message)s"))
    handler.addFilter(RateLimit())
    logger.handlers[:] = [handler]
    logger.setLevel(level)
