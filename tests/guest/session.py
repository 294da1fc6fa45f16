"""`ringfence run` on a pseudo-terminal, driven as a user drives it."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pexpect
from account import User

#: busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"
BOOT_SECONDS = 300
COMMAND_SECONDS = 120


class Session:
    """One `ringfence run` on a pseudo-terminal, with a shell at its other end.

    Args:
        user: whose it is; else that of the tests.
    """

    def __init__(self, *arguments: str | Path, user: User | None = None) -> None:
        if user is not None:
            self.child = user.spawn("run", *arguments)
            return
        command = [sys.executable, "-m", "ringfence", "run", *map(str, arguments)]
        self.child = pexpect.spawn(command[0], command[1:], timeout=COMMAND_SECONDS, encoding="utf-8")
        self.child.delaybeforesend = None

    def expect(self, pattern: str, timeout: float = COMMAND_SECONDS) -> re.Match[str]:
        self.child.expect(pattern, timeout=timeout)
        assert isinstance(self.child.match, re.Match)
        return self.child.match

    def boot(self) -> Session:
        """Wait for the shell; then make it read plain lines, with no echo and no editing."""
        self.expect(PROMPT, BOOT_SECONDS)
        self.child.sendline(
            'stty -echo; echo rea\'\'dy; while read -r line; do eval "$line"; echo "<$?>"; done'
        )
        self.expect(r"ready\r*\n")
        return self

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> str:
        """The command's output; fails when its status is not 0."""
        self.child.sendline(command)
        status = self.expect(r"<(\d+)>\r*\n", timeout).group(1)
        output = self.child.before.replace("\r", "").strip()
        assert status == "0", f"{command}: status {status}: {output}"
        return output

    def end(self, timeout: float = 60) -> int:
        """The exit status of `ringfence run`."""
        self.child.expect(pexpect.EOF, timeout=timeout)
        self.child.close()
        assert self.child.exitstatus is not None, f"died of signal {self.child.signalstatus}"
        return self.child.exitstatus

    def power_off(self) -> int:
        self.child.sendline("poweroff")
        return self.end()

    def kill(self) -> None:
        # close(force=True) gives a process a tenth of a second to go after the last signal
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()
        self.child.close()
