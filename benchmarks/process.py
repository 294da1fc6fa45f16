"""Runs a program and says what it cost: CPU seconds of the whole process, and wall seconds.

CPU seconds are what comparisons use: other programs on the machine disturb them least.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 600
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Cost:
    """What one run took, and what it printed."""

    cpu_seconds: float
    wall_seconds: float
    output: str


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Run ``command`` to its end, whatever its exit status: emulators have their own ideas of that.

    Raises:
        subprocess.TimeoutExpired: it did not end.
    """
    before = os.times()
    start = time.monotonic()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_SECONDS,
        env=environment,
        errors="replace",
        check=False,
    )
    wall = time.monotonic() - start
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Cost(cpu, wall, done.stdout)


def timed_lines(command: Sequence[str | Path]) -> Iterator[tuple[float, str]]:
    """Each line that ``command`` prints, and the CPU seconds of its process when the line was read.

    Raises:
        TimeoutError: it printed nothing for too long.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    pipe, rest = process.stdout.fileno(), b""
    try:
        while True:
            if not select.select([pipe], [], [], TIMEOUT_SECONDS)[0]:
                raise TimeoutError(f"{command[0]}: nothing after {rest!r}")
            now = cpu_seconds(process.pid)
            chunk = os.read(pipe, 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield now, line.decode(errors="replace").rstrip("\r")
    finally:
        process.kill()
        process.wait()


def own_memory_mib(pid: int, ram_bytes: int) -> float:
    """What is resident of a VMM apart from guest RAM, a mapping of just that size (smaps of proc(5))."""
    own, is_own = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            start, end = (int(address, 16) for address in found.groups())
            is_own = end - start != ram_bytes
        elif is_own and line.startswith("Rss:"):
            own += int(line.split()[1])
    return own / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process of this user's, all its threads."""
    clock = ctypes.c_int()
    error = _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, os.strerror(error))
    return time.clock_gettime(clock.value)
