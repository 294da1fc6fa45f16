"""A guest on a pseudo-terminal, whatever runs it: boot, commands and what they print."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from typing import Self

import pexpect

#: busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"
BOOT_SECONDS = 300
COMMAND_SECONDS = 120
#: What a guest runs to wait for its DHCP client, which is in the background.
HAS_ADDRESS = "until ip route | grep -q ^default; do sleep 0.1; done"


def spawn(command: Sequence[str], environment: Mapping[str, str] | None = None) -> pexpect.spawn:
    """A command on a pseudo-terminal, in this process' environment and ``environment``."""
    child = pexpect.spawn(
        command[0],
        list(command[1:]),
        timeout=COMMAND_SECONDS,
        encoding="utf-8",
        codec_errors="replace",
        env={**os.environ, **(environment or {})},
    )
    child.delaybeforesend = None
    return child


class GuestConsole:
    """A VMM's process on a pseudo-terminal, with a shell of its guest at the other end.

    Raises:
        pexpect.TIMEOUT, pexpect.EOF: what was waited for did not come.
    """

    def __init__(self, child: pexpect.spawn) -> None:
        self.child = child

    @property
    def pid(self) -> int:
        """The VMM's process."""
        pid: int = self.child.pid
        return pid

    def expect(self, pattern: str, timeout: float = COMMAND_SECONDS) -> re.Match[str]:
        self.child.expect(pattern, timeout=timeout)
        assert isinstance(self.child.match, re.Match)
        return self.child.match

    def boot(self) -> Self:
        """Wait for the shell; then make it read plain lines, with no echo and no editing."""
        self.expect(PROMPT, BOOT_SECONDS)
        self.child.sendline(
            'stty -echo; echo rea\'\'dy; while read -r line; do eval "$line"; echo "<$?>"; done'
        )
        self.expect(r"ready\r*\n")
        return self

    def start(self, command: str) -> None:
        """Begin a command, and do not wait; `finish` has its output."""
        self.child.sendline(command)

    def finish(self, timeout: float = COMMAND_SECONDS) -> str:
        """What the command printed.

        Raises:
            RuntimeError: its status was not 0.
        """
        status = self.expect(r"<(\d+)>\r*\n", timeout).group(1)
        output: str = self.child.before.replace("\r", "").strip()
        if status != "0":
            raise RuntimeError(f"in the guest: status {status}: {output}")
        return output

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> str:
        self.start(command)
        return self.finish(timeout)

    def kill(self) -> None:
        # close(force=True) gives a process a tenth of a second to go after the last signal
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()
        self.child.close()
