"""Runs a program and says what it cost: CPU seconds of the whole process, and wall seconds.

CPU seconds are what comparisons use: other programs on the machine disturb them least.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 600


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


def cpu_seconds(pid: int) -> float:
    """User and system time of a running process, all its threads: proc(5), /proc/pid/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
