"""Guests for the tests here: real kernels, and `ringfence run` driven as a user drives it.

The kernels come from a Debian mirror once and are cached; where neither is to be had, these tests fail,
for a test that quietly does not run holds nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from ringfence.image.cpio import CpioWriter
from ringfence.image.debian import Guest, fetch_debian, fetch_package

PROGRAMS = Path(__file__).parent / "programs"
#: busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"
BOOT_SECONDS = 300
COMMAND_SECONDS = 120


class Session:
    """One `ringfence run` on a pseudo-terminal, with a shell at its other end."""

    def __init__(self, *arguments: str | Path) -> None:
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
        self.child.close(force=True)


@pytest.fixture(scope="session")
def debian() -> Guest:
    return fetch_debian()


@pytest.fixture(scope="session")
def debian_i386() -> Guest:
    return fetch_debian(arch="i386")


@pytest.fixture(scope="session")
def memtest() -> Path:
    return fetch_package("memtest86+")


@pytest.fixture(scope="session")
def initrd_with_programs(debian: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's, and after it a second archive with the C programs of this folder in /bin."""
    folder = tmp_path_factory.mktemp("programs")
    archive = CpioWriter()
    for source in sorted(PROGRAMS.glob("*.c")):
        binary = folder / source.stem
        subprocess.run(["gcc", "-O1", "-static", "-o", binary, source], check=True)
        archive.file(f"bin/{source.stem}", binary.read_bytes(), 0o755)
    initrd = folder / "initrd"
    initrd.write_bytes(debian.initrd.read_bytes() + archive.finish())
    return initrd


@pytest.fixture(scope="module")
def shell(debian: Guest, initrd_with_programs: Path) -> Iterator[Session]:
    """Debian at its prompt, shared by a module's tests."""
    session = Session(
        "--kernel", debian.kernel, "--initrd", initrd_with_programs, "--append", "console=ttyS0 quiet"
    )
    try:
        yield session.boot()
    finally:
        session.kill()
