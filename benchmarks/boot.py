"""Debian's cloud kernel to a shell prompt: Ringfence and QEMU's TCG, with the same files and command line.

While the prompt waits, the VMM's own memory is measured: what is resident of its mappings, guest RAM apart.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pexpect

from benchmarks.process import cpu_seconds

MEMORY = "512M"
APPEND = "console=ttyS0 quiet"
#: busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"
TIMEOUT_SECONDS = 900
#: guest RAM in /proc/pid/smaps
GUEST_RAM = "/memfd:ringfence-ram"


class Boot(NamedTuple):
    """From the start of the process to the prompt."""

    cpu_seconds: float
    wall_seconds: float
    vmm_mib: float
    report: dict[str, object]


def ringfence(kernel: Path, initrd: Path, folder: Path) -> Boot:
    report = folder / "boot.json"
    command = [sys.executable, "-m", "ringfence", "run", "--memory", MEMORY, "--report", str(report)]
    return _boot([*command, "--kernel", str(kernel), "--initrd", str(initrd), "--append", APPEND], report)


def qemu(kernel: Path, initrd: Path) -> Boot:
    command = ["qemu-system-x86_64", "-accel", "tcg", "-nographic", "-m", MEMORY, "-no-reboot"]
    return _boot([*command, "-kernel", str(kernel), "-initrd", str(initrd), "-append", APPEND], None)


def _boot(command: list[str], report: Path | None) -> Boot:
    start = time.monotonic()
    child = pexpect.spawn(
        command[0], command[1:], timeout=TIMEOUT_SECONDS, encoding="utf-8", codec_errors="replace"
    )
    child.expect(PROMPT)
    wall = time.monotonic() - start
    cpu = cpu_seconds(child.pid)
    vmm_mib = own_memory_mib(child.pid)
    child.sendline("poweroff")
    child.expect(pexpect.EOF)
    child.close()
    return Boot(cpu, wall, vmm_mib, json.loads(report.read_text()) if report is not None else {})


def own_memory_mib(pid: int) -> float:
    """What is resident of a process apart from guest RAM: proc(5), /proc/pid/smaps."""
    own, is_own = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_own = GUEST_RAM not in line
        elif is_own and line.startswith("Rss:"):
            own += int(line.split()[1])
    return own / 1024


class Comparison(NamedTuple):
    """Medians over the rounds."""

    ringfence: Boot
    qemu: Boot
    #: our CPU time divided by QEMU's in the same round
    cpu_ratio: float
    wall_ratio: float


def compare(kernel: Path, initrd: Path, folder: Path, rounds: int) -> Comparison:
    pairs = [(ringfence(kernel, initrd, folder), qemu(kernel, initrd)) for _ in range(rounds)]
    pairs.sort(key=lambda pair: pair[0].cpu_seconds / pair[1].cpu_seconds)
    ours, theirs = pairs[len(pairs) // 2]
    return Comparison(
        ours,
        theirs,
        ours.cpu_seconds / theirs.cpu_seconds,
        statistics.median(one.wall_seconds / other.wall_seconds for one, other in pairs),
    )


def table(comparison: Comparison) -> list[str]:
    """As Markdown."""
    ours, theirs = comparison.ringfence, comparison.qemu
    vcpus = ours.report["vcpus"]
    assert isinstance(vcpus, list)
    return [
        "| Debian cloud kernel to the shell | ringfence | QEMU TCG | ratio |",
        "|---|---|---|---|",
        f"| CPU s | {ours.cpu_seconds:.1f} | {theirs.cpu_seconds:.1f} | **{comparison.cpu_ratio:.1f}** |",
        f"| wall s | {ours.wall_seconds:.1f} | {theirs.wall_seconds:.1f} | {comparison.wall_ratio:.1f} |",
        f"| VMM's own memory, MiB | {ours.vmm_mib:.0f} | | |",
        f"| guest MIPS | {vcpus[0]['mips']:.0f} | | |",
    ]
