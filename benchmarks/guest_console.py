"""A guest on a pseudo-terminal, whatever runs it: boot, commands and what they print."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

import pexpect

#: busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"
BOOT_SECONDS = 900
COMMAND_SECONDS = 180


class GuestConsole:
    """A VMM's command, with a shell of its guest at the other end.

    Raises:
        pexpect.TIMEOUT, pexpect.EOF: what was waited for did not come.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.child = pexpect.spawn(
            command[0],
            list(command[1:]),
            timeout=COMMAND_SECONDS,
            encoding="utf-8",
            codec_errors="replace",
            env={**os.environ, **(environment or {})},
        )
        self.child.delaybeforesend = None

    @property
    def pid(self) -> int:
        """The VMM's process."""
        pid: int = self.child.pid
        return pid

    def boot(self) -> None:
        """Wait for the shell; then make it read plain lines, with no echo and no editing."""
        self.child.expect(PROMPT, timeout=BOOT_SECONDS)
        self.child.sendline(
            'stty -echo; echo rea\'\'dy; while read -r line; do eval "$line"; echo "<$?>"; done'
        )
        self.child.expect(r"ready\r*\n")

    def start(self, command: str) -> None:
        """Begin a command, and do not wait; `finish` has its output."""
        self.child.sendline(command)

    def finish(self) -> str:
        """What the command printed.

        Raises:
            RuntimeError: its status was not 0.
        """
        self.child.expect(r"<(\d+)>\r*\n")
        output: str = self.child.before.replace("\r", "").strip()
        if self.child.match.group(1) != "0":
            raise RuntimeError(f"in the guest: {output}")
        return output

    def run(self, command: str) -> str:
        self.start(command)
        return self.finish()

    def kill(self) -> None:
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()
        self.child.close()
