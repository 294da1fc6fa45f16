"""`ringfence run` on a pseudo-terminal, driven as a user drives it."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
from account import User

from benchmarks.guest_console import GuestConsole, spawn


class Session(GuestConsole):
    """One `ringfence run` on a pseudo-terminal, with a shell at its other end.

    Args:
        user: whose it is; else that of the tests.
    """

    def __init__(self, *arguments: str | Path, user: User | None = None) -> None:
        if user is not None:
            super().__init__(user.spawn("run", *arguments))
        else:
            super().__init__(spawn([sys.executable, "-m", "ringfence", "run", *map(str, arguments)]))

    def end(self, timeout: float = 60) -> int:
        """The exit status of `ringfence run`."""
        self.child.expect(pexpect.EOF, timeout=timeout)
        self.child.close()
        assert self.child.exitstatus is not None, f"died of signal {self.child.signalstatus}"
        return self.child.exitstatus

    def power_off(self) -> int:
        self.child.sendline("poweroff")
        return self.end()
