"""A machine to live with: how soon it answers, how soon it runs a command, what it costs while it is idle.

Ringfence runs it as `ringfence run -d` does, and asks its agent. QEMU's TCG has no agent: there the guest's
shell is asked, on the serial console. The programs are the same, with the same files.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import machines
from benchmarks.guest_console import GuestConsole, spawn
from benchmarks.machines import Guest
from benchmarks.process import cpu_seconds, own_memory_mib
from ringfence import VM

APPEND = "console=ttyS0 quiet"
RAM_BYTES = 512 << 20
COMMANDS = 50
SETTLE_SECONDS, IDLE_SECONDS = 10, 20
#: A number by row.
Numbers = dict[str, float]

ANSWER, COMMAND = "start to first answer, s", "a command, ms"
COMMAND_LINE, HELP = "`ringfence exec`, ms", "`ringfence --help`, ms"
IDLE, MEMORY = "CPU of an idle guest, %", "memory beyond guest RAM, MiB"


def ringfence(guest: Guest) -> Numbers:
    start = time.monotonic()
    options = ["--memory", guest.memory, "--append", guest.append]
    files = ["--kernel", str(guest.kernel), "--initrd", str(guest.initrd)]
    name = _cli("run", "-d", "--rm", *options, *files).strip()
    with VM.find(name) as vm:
        _cli("exec", name, "true")
        answer = time.monotonic() - start
        numbers = {ANSWER: answer, COMMAND: _median_ms(lambda: vm.exec(["true"], check=True))}
        numbers[COMMAND_LINE] = _median_ms(lambda: _cli("exec", name, "true"))
        numbers[HELP] = _median_ms(lambda: _cli("--help"))
        return numbers | _idle(vm.record.pid)


def qemu(guest: Guest) -> Numbers:
    start = time.monotonic()
    console = GuestConsole(spawn(machines.qemu(guest)))
    try:
        console.boot()
        console.run("true")
        answer = time.monotonic() - start
        return {ANSWER: answer, COMMAND: _median_ms(lambda: console.run("/bin/true"))} | _idle(console.pid)
    finally:
        console.kill()


def _cli(*words: str) -> str:
    command = [sys.executable, "-m", "ringfence", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(COMMANDS):
        start = time.monotonic()
        work()
        times.append(time.monotonic() - start)
    return 1000 * statistics.median(times)


def _idle(pid: int) -> Numbers:
    """Of a guest that has been left alone for a while."""
    time.sleep(SETTLE_SECONDS)
    cpu, start = cpu_seconds(pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    percent = 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - start)
    return {IDLE: percent, MEMORY: own_memory_mib(pid, RAM_BYTES)}


def compare(kernel: Path, initrd: Path, rounds: int) -> list[tuple[Numbers, Numbers]]:
    """Ours and QEMU's, by turns."""
    guest = Guest(kernel, initrd, APPEND, f"{RAM_BYTES >> 20}M")
    return [(ringfence(guest), qemu(guest)) for _ in range(rounds)]


def table(rounds: Sequence[tuple[Numbers, Numbers]]) -> list[str]:
    """As Markdown: medians over the rounds, ratios within a round."""
    lines = ["| a managed machine | ringfence | TCG | ratio |", "|---|---|---|---|"]
    for row in rounds[0][0]:
        cells = [row, f"{statistics.median(ours[row] for ours, _ in rounds):.3g}", "", ""]
        if row in rounds[0][1]:
            cells[2] = f"{statistics.median(theirs[row] for _, theirs in rounds):.3g}"
            cells[3] = f"**{statistics.median(ours[row] / theirs[row] for ours, theirs in rounds):.2f}**"
        lines.append("| " + " | ".join(cells) + " |")
    return lines
