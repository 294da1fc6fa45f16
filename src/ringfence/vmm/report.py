"""`--report json`: what happened in a machine, as plain data.

Numbers add up over the guest's reboots. Times are host nanoseconds: in guest code, in the VMM (answering
exits, alarms), idle (halted).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ringfence.core.exits import Reason
from ringfence.core.x86._gen_rows import ROWS, Row
from ringfence.metrics import VcpuMetrics
from ringfence.version import __version__
from ringfence.vmm.outcome import Outcome
from ringfence.vmm.vcpu import Parts

#: what the translator does with an instruction: docs/design/translator.md
CLASSES = ("copy", "rewrite", "emulate", "exit")
#: why its handler was called from translated code, and the counter's name
CALLED = {"missed": "missed", "emulate": "emulated", "exit": "exited"}

#: what is decoded as an instruction, but is in no row
UNDEFINED = Row("", "(undefined)", (), "", "innocuous", "", "", "", "", "", ())


class Counting(Parts, Protocol):
    """What is wanted of a board."""

    def metrics(self) -> Mapping[str, Mapping[str, int]]:
        """What each device counts, by its name."""
        ...


class Totals:
    """Counters of the boards a machine had so far: a reboot makes a new board, whose count from 0."""

    def __init__(self) -> None:
        self.vcpus: list[Counter[str]] = []
        self.interrupts: list[Counter[int]] = []
        self.exceptions: list[Counter[int]] = []
        #: by row of the instruction tables and what is counted
        self.rows: list[Counter[tuple[int, str]]] = []
        self.unclaimed: Counter[tuple[str, int, bool]] = Counter()
        #: by device and what is counted
        self.devices: Counter[tuple[str, str]] = Counter()

    def add(self, board: Counting) -> None:
        """Any thread, also while the board runs: what may grow meanwhile is copied whole first."""
        for index, vcpu in enumerate(board.vcpus):
            if index == len(self.vcpus):
                self.vcpus.append(Counter())
                self.interrupts.append(Counter())
                self.exceptions.append(Counter())
                self.rows.append(Counter())
            counters = dict(vcpu.counters())
            self.interrupts[index].update(counters.pop("interrupts", {}))
            self.exceptions[index].update(counters.pop("exceptions", {}))
            for row, counts in counters.pop("rows", {}).items():
                self.rows[index].update({(row, name): count for name, count in counts.items()})
            self.vcpus[index].update({name: int(value) for name, value in counters.items()})
        for bus in (board.pio, board.mmio):
            for (address, is_write), count in dict(bus.unclaimed).items():
                self.unclaimed[bus.name, address, is_write] += count
        for device, counts in board.metrics().items():
            self.devices.update({(device, name): count for name, count in counts.items()})

    def copy(self) -> Totals:
        twin = Totals()
        twin.vcpus = [Counter(counter) for counter in self.vcpus]
        twin.interrupts = [Counter(counter) for counter in self.interrupts]
        twin.exceptions = [Counter(counter) for counter in self.exceptions]
        twin.rows = [Counter(counter) for counter in self.rows]
        twin.unclaimed = Counter(self.unclaimed)
        twin.devices = Counter(self.devices)
        return twin


def make(
    totals: Totals,
    metrics: Iterable[VcpuMetrics],
    outcome: Outcome | None,
    reboots: int,
    network: Mapping[str, int],
    agent: Mapping[str, int],
) -> dict[str, Any]:
    """The report; its keys are described in docs/tutorials/report.md."""
    return {
        "ringfence": __version__,
        "outcome": _outcome(outcome),
        "reboots": reboots,
        "vcpus": [
            _vcpu(counters, interrupts, exceptions, rows, loop)
            for counters, interrupts, exceptions, rows, loop in zip(
                totals.vcpus, totals.interrupts, totals.exceptions, totals.rows, metrics, strict=True
            )
        ],
        "unclaimed": [
            {"bus": bus, "address": address, "is_write": is_write, "count": count}
            for (bus, address, is_write), count in totals.unclaimed.most_common()
        ],
        "devices": _devices(totals.devices),
        "network": dict(network),
        "agent": dict(agent),
    }


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {
        "kind": outcome.kind.value,
        "value": outcome.value,
        "exit_status": outcome.exit_status,
        "detail": outcome.detail,
    }


def _vcpu(
    counters: Counter[str],
    interrupts: Counter[int],
    exceptions: Counter[int],
    rows: Counter[tuple[int, str]],
    loop: VcpuMetrics,
) -> dict[str, Any]:
    instructions = counters["instructions"]
    return {
        "exits": {reason.name: loop.exits[reason] for reason in Reason if loop.exits[reason]},
        "exit_ns": {reason.name: loop.exit_ns[reason] for reason in Reason if loop.exits[reason]},
        "instructions": instructions,
        "mips": loop.mips(instructions),
        "guest_ns": loop.guest_ns,
        "vmm_ns": loop.vmm_ns,
        "idle_ns": loop.idle_ns,
        "interrupts": _by_vector(interrupts),
        "exceptions": _by_vector(exceptions),
        "counters": dict(sorted(counters.items())),
        "classes": _classes(counters, rows),
        "rows": _rows(rows),
    }


def _classes(counters: Counter[str], rows: Counter[tuple[int, str]]) -> dict[str, Any]:
    """Instructions by what the translator does with them."""
    sums: Counter[str] = Counter()
    for (_, name), count in rows.items():
        sums[name] += count
    in_place = counters["instructions_in_place"]
    called = sums["missed"] + sums["emulated"] + sums["exited"]
    return {
        "translated": {name: sums[name] for name in CLASSES},
        "executed": {
            "interpreted": max(0, counters["instructions"] - in_place - called),
            "in_place": in_place,
            "missed": sums["missed"],
            "emulate": sums["emulated"],
            "exit": sums["exited"],
        },
    }


def _rows(rows: Counter[tuple[int, str]]) -> list[dict[str, Any]]:
    """The instructions that were translated, what called out most first."""
    made: list[dict[str, Any]] = []
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for (number, name), count in rows.items():
        found[number][name] = count
    for number, counts in found.items():
        row = ROWS[number] if number < len(ROWS) else UNDEFINED
        made.append(
            {
                "instruction": f"{row.mnemonic} {','.join(row.operands)}".rstrip(),
                "encoding": row.encoding,
                "class": row.klass,
                "translated": {name: counts[name] for name in CLASSES if name in counts},
                "called": {name: counts[key] for name, key in CALLED.items() if key in counts},
                "patched": counts.get("patched", 0),
                "sampled": counts.get("sampled", 0),
                "sampled_ns": counts.get("sampled_ns", 0),
            }
        )
    made.sort(key=lambda row: (-sum(row["called"].values()), -sum(row["translated"].values())))
    return made


def _devices(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """By device; those that have counted something."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (device, name), count in sorted(counts.items()):
        if count:
            found[device][name] = count
    return dict(found)


def _by_vector(counts: Counter[int]) -> dict[str, int]:
    return {f"{vector:#04x}": count for vector, count in sorted(counts.items()) if count}
