"""A process of this user that is not a child: to be killed and waited for, whoever gets its number later."""

from __future__ import annotations

import contextlib
import os
import select
import signal

#: How long a process that has ended its machine may take to be gone.
EXIT_SECONDS = 10.0


class Process:
    """Process number ``pid``, as it is now; 0 and one that is gone have nothing to wait for."""

    def __init__(self, pid: int) -> None:
        self._fd = -1
        if pid:
            with contextlib.suppress(ProcessLookupError):
                self._fd = os.pidfd_open(pid)

    def kill(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def wait(self, seconds: float = EXIT_SECONDS) -> bool:
        """Whether it has ended after so long."""
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
