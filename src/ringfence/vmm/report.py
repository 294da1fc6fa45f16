"""`--report json`: what happened in a machine, as plain data.

Numbers add up over the guest's reboots. Times are host nanoseconds: in guest code, in the VMM (answering
exits, alarms), idle (halted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ringfence.core.exits import Reason
from ringfence.metrics import VcpuMetrics
from ringfence.version import __version__
from ringfence.vmm.outcome import Outcome
from ringfence.vmm.vcpu import Parts


class Totals:
    """Counters of the boards a machine had so far: a reboot makes a new board, whose count from 0."""

    def __init__(self) -> None:
        self.vcpus: list[Counter[str]] = []
        self.interrupts: list[Counter[int]] = []
        self.exceptions: list[Counter[int]] = []
        self.unclaimed: Counter[tuple[str, int, bool]] = Counter()

    def add(self, board: Parts) -> None:
        for index, vcpu in enumerate(board.vcpus):
            if index == len(self.vcpus):
                self.vcpus.append(Counter())
                self.interrupts.append(Counter())
                self.exceptions.append(Counter())
            counters = dict(vcpu.counters())
            self.interrupts[index].update(counters.pop("interrupts", {}))
            self.exceptions[index].update(counters.pop("exceptions", {}))
            self.vcpus[index].update({name: int(value) for name, value in counters.items()})
        for bus in (board.pio, board.mmio):
            for (address, is_write), count in bus.unclaimed.items():
                self.unclaimed[bus.name, address, is_write] += count

    def copy(self) -> Totals:
        twin = Totals()
        twin.vcpus = [Counter(counter) for counter in self.vcpus]
        twin.interrupts = [Counter(counter) for counter in self.interrupts]
        twin.exceptions = [Counter(counter) for counter in self.exceptions]
        twin.unclaimed = Counter(self.unclaimed)
        return twin


def make(
    totals: Totals, metrics: Iterable[VcpuMetrics], outcome: Outcome | None, reboots: int
) -> dict[str, Any]:
    """The report; its keys are described in docs/tutorials/report.md."""
    return {
        "ringfence": __version__,
        "outcome": _outcome(outcome),
        "reboots": reboots,
        "vcpus": [
            _vcpu(counters, interrupts, exceptions, loop)
            for counters, interrupts, exceptions, loop in zip(
                totals.vcpus, totals.interrupts, totals.exceptions, metrics, strict=True
            )
        ],
        "unclaimed": [
            {"bus": bus, "address": address, "is_write": is_write, "count": count}
            for (bus, address, is_write), count in totals.unclaimed.most_common()
        ],
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
    counters: Counter[str], interrupts: Counter[int], exceptions: Counter[int], loop: VcpuMetrics
) -> dict[str, Any]:
    instructions = counters["instructions"]
    return {
        "exits": {reason.name: loop.exits[reason] for reason in Reason if loop.exits[reason]},
        "instructions": instructions,
        "mips": loop.mips(instructions),
        "guest_ns": loop.guest_ns,
        "vmm_ns": loop.vmm_ns,
        "idle_ns": loop.idle_ns,
        "interrupts": _by_vector(interrupts),
        "exceptions": _by_vector(exceptions),
        "counters": dict(sorted(counters.items())),
    }


def _by_vector(counts: Counter[int]) -> dict[str, int]:
    return {f"{vector:#04x}": count for vector, count in sorted(counts.items()) if count}
