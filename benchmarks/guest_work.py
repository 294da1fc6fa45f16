"""The same guest work on several machines: one ROM a piece of work, started at the reset vector everywhere.

The ROM prints a result, which must be the same on all of them; what a ROM costs that does nothing is
subtracted. Rounds take turns, so that a noisy host disturbs everybody alike; ratios are medians.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.process import Cost, run

SOURCES = Path(__file__).parent / "guest"
MEMORY_MIB = 32
NOTHING = "nothing"


class Work(NamedTuple):
    """A piece of work: its source file, its mode, and how often: about a second's worth under Bochs."""

    name: str
    is_64_bit: bool
    scale: int


WORKS = (
    Work("integer", True, 2),
    Work("sieve", False, 2),
    Work("memory", True, 8),
    Work("calls", False, 6),
    Work("strings", True, 1),
    Work("paging", True, 2),
    Work("float", False, 10),
    Work("interrupts", False, 6),
)


def assemble(work: Work, folder: Path) -> Path:
    """The ROM of this work, made with nasm."""
    rom = folder / f"{work.name}.rom"
    defines = [f'-DWORK="{work.name}.asm"', f"-DLONG={int(work.is_64_bit)}", f"-DSCALE={work.scale}"]
    subprocess.run(
        ["nasm", "-f", "bin", *defines, "-i", f"{SOURCES}/", "-o", rom, SOURCES / "rom.asm"], check=True
    )
    return rom


def ringfence(rom: Path, options: Sequence[str] = ()) -> Cost:
    command = [sys.executable, "-m", "ringfence", "run", *options, "--firmware", str(rom)]
    return run([*command, "--memory", f"{MEMORY_MIB}M", "--debug-exit", "0xf4"])


BOCHS_SETTINGS = """\
romimage: file={rom}, address=0x00000000ffff0000
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei5_lynnfield_750, count=1, ips=100000000
memory: guest={memory}, host={memory}
port_e9_hack: enabled=1
display_library: rfb, options="timeout=0"
log: {folder}/bochs.log
panic: action=fatal
error: action=ignore
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
com1: enabled=0
parport1: enabled=0
"""


def bochs(rom: Path) -> Cost:
    settings = rom.with_suffix(".bochsrc")
    settings.write_text(BOCHS_SETTINGS.format(rom=rom, memory=MEMORY_MIB, folder=rom.parent))
    # Debian builds it with its debugger, which waits for the word to go on.
    commands = rom.with_suffix(".bochscommands")
    commands.write_text("continue\n")
    return run(["bochs", "-q", "-f", settings, "-rc", commands])


def qemu(rom: Path) -> Cost:
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-nodefaults", "-display", "none"]
    command += ["-m", str(MEMORY_MIB), "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    return run([*command, "-bios", rom])


Machine = Callable[[Path], Cost]
#: Ourselves first.
MACHINES = ("ringfence", "bochs", "qemu")


class Comparison(NamedTuple):
    """CPU seconds of one piece of work, by machine; medians over the rounds."""

    work: str
    result: str
    seconds: dict[str, float]
    #: Bochs's time divided by ours, in the same round: above 1 we are faster.
    speed_against_bochs: float


def compare(
    folder: Path, rounds: int, names: Iterable[str] = (), options: Sequence[str] = ()
) -> list[Comparison]:
    """Measure all works, or those named; ``options`` are those of `ringfence run`.

    Raises:
        AssertionError: the machines disagree about a result.
    """
    chosen = [work for work in WORKS if not names or work.name in set(names)]
    functions: tuple[Machine, ...] = (partial(ringfence, options=options), bochs, qemu)
    machines = dict(zip(MACHINES, functions, strict=True))
    nothing = assemble(Work(NOTHING, False, 1), folder)
    start = {
        name: statistics.median(machine(nothing).cpu_seconds for _ in range(rounds))
        for name, machine in machines.items()
    }
    return [_compare(work, assemble(work, folder), rounds, machines, start) for work in chosen]


def _compare(
    work: Work, rom: Path, rounds: int, machines: Mapping[str, Machine], start: Mapping[str, float]
) -> Comparison:
    seconds: dict[str, list[float]] = {name: [] for name in MACHINES}
    results = set()
    for _ in range(rounds):
        for name, machine in machines.items():
            cost = machine(rom)
            seconds[name].append(max(cost.cpu_seconds - start[name], 0.001))
            results.add(_result(cost.output, name))
    assert len(results) == 1, f"{work.name}: the machines disagree: {results}"
    ratios = [theirs / ours for theirs, ours in zip(seconds["bochs"], seconds["ringfence"], strict=True)]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return Comparison(work.name, results.pop(), medians, statistics.median(ratios))


def _result(output: str, machine: str) -> str:
    match = re.search(r"^([0-9A-F]{8})\r?$", output, re.MULTILINE)
    assert match is not None, f"{machine} printed no result: {output[-400:]}"
    return match.group(1)


def table(comparisons: list[Comparison]) -> list[str]:
    """As Markdown."""
    heads = " | ".join(f"{name}, CPU s" for name in MACHINES)
    lines = [f"| guest work | {heads} | speed against Bochs |", "|---" * (len(MACHINES) + 2) + "|"]
    for work, _, seconds, ratio in comparisons:
        cells = " | ".join(f"{seconds[name]:.2f}" for name in MACHINES)
        lines.append(f"| {work} | {cells} | {ratio:.2f} |")
    mean = statistics.geometric_mean(comparison.speed_against_bochs for comparison in comparisons)
    lines.append(f"| geometric mean |{' |' * len(MACHINES)} **{mean:.2f}** |")
    return lines
