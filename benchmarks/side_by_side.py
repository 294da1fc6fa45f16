"""One program of ours on bare hardware, in Ringfence and in QEMU's TCG: same binary, guest kernel and initrd.

The program (programs/harness.h) times each repetition by the clock of the system it runs on, and prints a
line. At that line the VMM's own CPU clock is read, on the host. A guest's clock goes on while its VMM waits
for a processor, so ratios are of the host's CPU seconds; the guest's stand beside them and show whether it
can trust its clock. Linux counts a running thread's time in ticks of some milliseconds: so the repetitions
of a run count together. Of several runs the shortest counts, which others on the host disturbed least.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks import machines
from benchmarks.machines import Guest
from benchmarks.process import timed_lines

#: The same code in every guest's kernel, whatever its CPU model needs; a crash ends the run.
APPEND = "console=ttyS0 quiet mitigations=off panic=-1"
REPETITIONS = 3
NATIVE, RINGFENCE, QEMU = "native", "ringfence", "TCG"


class Time(NamedTuple):
    """CPU seconds of a repetition, the mean of a run. On bare hardware the two clocks are one."""

    host_seconds: float
    guest_seconds: float


@dataclass(frozen=True)
class Result:
    """One piece of work: the shortest run by machine."""

    name: str
    units: int
    times: Mapping[str, Time]

    def ratio(self, over: str, under: str) -> float:
        return self.times[over].host_seconds / self.times[under].host_seconds


class Plan(NamedTuple):
    """What to run where."""

    #: The program's command on bare hardware, without its arguments.
    native: Sequence[str | Path]
    kernel: Path
    initrd: Path
    memory: str
    #: Options of `ringfence run`.
    options: Sequence[str] = ()
    scale_percent: int = 100
    #: The works to do; all of them where none is named.
    names: Sequence[str] = ()


@dataclass
class _Run:
    """What one run of the program said about one piece of work."""

    units: int = 0
    host_start: float = 0.0
    host_end: float = 0.0
    guest_seconds: list[float] = field(default_factory=list)
    checksums: set[str] = field(default_factory=set)

    def time(self, is_native: bool) -> Time:
        guest = statistics.mean(self.guest_seconds)
        host = (self.host_end - self.host_start) / len(self.guest_seconds)
        return Time(guest if is_native else max(host, 0.001), guest)


def compare(plan: Plan, rounds: int) -> list[Result]:
    """Run the plan; the machines take turns.

    Raises:
        AssertionError: the machines disagree about a result, or one gave none.
    """
    arguments = ["-s", str(plan.scale_percent), "-r", str(REPETITIONS), *plan.names]
    guest = Guest(plan.kernel, plan.initrd, " ".join([APPEND, "--", *arguments]), plan.memory)
    commands: dict[str, Sequence[str | Path]] = {
        NATIVE: [*plan.native, *arguments],
        RINGFENCE: machines.ringfence(guest, *plan.options),
        QEMU: machines.qemu(guest),
    }
    runs: dict[str, list[dict[str, _Run]]] = {machine: [] for machine in commands}
    for _ in range(rounds):
        for machine, command in commands.items():
            runs[machine].append(_run(command))
    return [_result(name, runs) for name in runs[NATIVE][0]]


def _run(command: Sequence[str | Path]) -> dict[str, _Run]:
    runs: dict[str, _Run] = {}
    output = []
    for now, text in timed_lines(command):
        output.append(text)
        match text.split():
            # what a firmware prints to clear the screen may stand before it
            case [start, name] if start.endswith("start"):
                runs[name] = _Run(host_start=now)
            case ["done", name, units, seconds, checksum]:
                run = runs[name]
                run.units, run.host_end = int(units), now
                run.guest_seconds.append(float(seconds))
                run.checksums.add(checksum)
    assert runs and "end" in output, f"{command[0]} did not come to its end: {output[-20:]}"
    return runs


def _result(name: str, runs: Mapping[str, Sequence[Mapping[str, _Run]]]) -> Result:
    checksums = {machine: set().union(*(run[name].checksums for run in of)) for machine, of in runs.items()}
    assert len(set().union(*checksums.values())) == 1, f"{name}: the machines disagree: {checksums}"
    times = {machine: min(run[name].time(machine == NATIVE) for run in of) for machine, of in runs.items()}
    return Result(name, runs[NATIVE][0][name].units, times)


def table(title: str, results: Sequence[Result]) -> list[str]:
    """As Markdown."""
    heads = ("native, CPU s", "ringfence, CPU s (by its guest)", "TCG, CPU s (by its guest)")
    ratios = ((RINGFENCE, NATIVE), (QEMU, NATIVE), (QEMU, RINGFENCE))
    lines = [
        "| " + " | ".join([title, *heads, *(f"{over} / {under}" for over, under in ratios)]) + " |",
        "|---" * 7 + "|",
    ]
    for result in results:
        native, ours, theirs = (result.times[machine] for machine in (NATIVE, RINGFENCE, QEMU))
        cells = [
            result.name,
            f"{native.host_seconds:.3f}",
            f"{ours.host_seconds:.3f} ({ours.guest_seconds:.3f})",
            f"{theirs.host_seconds:.3f} ({theirs.guest_seconds:.3f})",
            *(f"{result.ratio(over, under):.2f}" for over, under in ratios),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    means = [
        statistics.geometric_mean(result.ratio(over, under) for result in results) for over, under in ratios
    ]
    lines.append("| geometric mean | | | | " + " | ".join(f"**{mean:.2f}**" for mean in means) + " |")
    return lines
