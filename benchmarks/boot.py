"""Debian's cloud kernel to a shell prompt: Ringfence and QEMU's TCG, with the same files and command line.

Ringfence boots twice with a cache directory that is empty at first: whatever it keeps of a first boot, the
second finds. While the prompt waits, the VMM's own memory is measured: what is resident of its mappings,
guest RAM apart.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pexpect

from benchmarks import machines
from benchmarks.machines import Guest
from benchmarks.process import cpu_seconds, own_memory_mib

APPEND = "console=ttyS0 quiet"
#: busybox's shell asks the terminal where its cursor is
PROMPT = r"# \x1b\[6n"
TIMEOUT_SECONDS = 900
RAM_BYTES = 512 << 20


class Boot(NamedTuple):
    """From the start of the process to the prompt."""

    cpu_seconds: float
    wall_seconds: float
    vmm_mib: float
    mips: float


class Round(NamedTuple):
    """Boots in turn; the first of ours starts with an empty cache, the second with what the first left."""

    cold: Boot
    warm: Boot
    qemu: Boot


def _round(guest: Guest, folder: Path, options: Sequence[str]) -> Round:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        report = Path(cache) / "report.json"
        command = machines.ringfence(guest, "--report", str(report), "--translation-cache", *options)
        cold = _boot(command, cache, report)
        warm = _boot(command, cache, report)
        return Round(cold, warm, _boot(machines.qemu(guest), cache))


def _boot(command: list[str], cache: str, report: Path | None = None) -> Boot:
    start = time.monotonic()
    child = pexpect.spawn(
        command[0],
        command[1:],
        timeout=TIMEOUT_SECONDS,
        encoding="utf-8",
        codec_errors="replace",
        env={**os.environ, "XDG_CACHE_HOME": cache},
    )
    child.expect(PROMPT)
    wall = time.monotonic() - start
    cpu = cpu_seconds(child.pid)
    vmm_mib = own_memory_mib(child.pid, RAM_BYTES)
    child.sendline("poweroff")
    child.expect(pexpect.EOF)
    child.close()
    mips = json.loads(report.read_text())["vcpus"][0]["mips"] if report is not None else 0.0
    return Boot(cpu, wall, vmm_mib, mips)


def compare(
    kernel: Path, initrd: Path, folder: Path, rounds: int, options: Sequence[str] = ()
) -> list[Round]:
    """``options`` are those of `ringfence run`."""
    guest = Guest(kernel, initrd, APPEND, str(RAM_BYTES >> 20) + "M")
    return [_round(guest, folder, options) for _ in range(rounds)]


def table(rounds: Sequence[Round]) -> list[str]:
    """As Markdown: medians over the rounds, ratios within a round."""

    def row(name: str, number: Callable[[Boot], float]) -> str:
        cold, warm, theirs = (
            statistics.median(number(boot) for boot in boots) for boots in zip(*rounds, strict=True)
        )
        cold_ratio = statistics.median(number(each.cold) / number(each.qemu) for each in rounds)
        warm_ratio = statistics.median(number(each.warm) / number(each.qemu) for each in rounds)
        ratios = f"**{cold_ratio:.2f}** | **{warm_ratio:.2f}**"
        return f"| {name} | {cold:.2f} | {warm:.2f} | {theirs:.2f} | {ratios} |"

    ours = [[each.cold for each in rounds], [each.warm for each in rounds]]
    memory = [max(boot.vmm_mib for boot in boots) for boots in ours]
    mips = [statistics.median(boot.mips for boot in boots) for boots in ours]
    return [
        "| Debian cloud kernel to the shell | ringfence | second boot | QEMU TCG | ratio | second's ratio |",
        "|---|---|---|---|---|---|",
        row("CPU s", lambda boot: boot.cpu_seconds),
        row("wall s", lambda boot: boot.wall_seconds),
        f"| VMM's own memory, MiB | {memory[0]:.0f} | {memory[1]:.0f} | | | |",
        f"| guest MIPS | {mips[0]:.0f} | {mips[1]:.0f} | | | |",
    ]
