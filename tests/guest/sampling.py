"""A moment of a running machine, gone on from by both engines apart from it: they have to come to the same.

What a guest reads of the time differs from run to run, so a difference counts only if the interpreter agrees
with itself. Time is set back, so that no timer fires meanwhile. Arithmetic flags are not compared, for the
manuals leave many undefined: one that matters is soon branched on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from twins import counter_of, register_differences

from ringfence import Machine
from ringfence.core.exits import Reason
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.core.x86.vcpu import Vcpu

CHUNK = 1 << 20
#: instructions between two comparisons: 0 is one block
BUDGETS = (0, 0, 0, 0, 0, 0, 0, 0, 200, 2500)
#: a step of a REP counts as up to so many instructions, and steps of it as more than it has by itself: so the
#: interpreter looks for the state from so far before
REP_COUNTS, SLACK = 130, 200
ARITHMETIC = 0x8D5
#: guest times to go on from, before any timer's
AGES_NS = (1_000_000, 345_678, 12_345)
FLAGS = ~ARITHMETIC


class Side:
    """A processor and memory of the machine's kind."""

    def __init__(self, machine: Machine, engine: str) -> None:
        self.memory = GuestMemory()
        for gpa, size, is_rom in machine.memory.regions():
            if is_rom:
                self.memory.add_rom(gpa, machine.memory.read(gpa, size))
            else:
                self.memory.add_ram(gpa, size)
        self.cpu = Vcpu(0, self.memory, machine.config.cpu, engine)
        if engine == "translate":
            self.cpu.tune_translator(1, has_exact_flags=True)

    def take(self, moment: Moment, age_ns: int = AGES_NS[0]) -> None:
        for gpa, page in moment.chunks.items():
            if self.memory.read(gpa, len(page)) != page:
                self.memory.write(gpa, page)
        self.cpu.restore(moment.record)
        self.cpu.set_clock_offset_ns(time.monotonic_ns() - age_ns)
        self.cpu.set_debug_steps(0)

    def run(self, budget: int) -> tuple[Reason, int]:
        """So many instructions under the translator, or to an exit: also how many there were."""
        before = counter_of(self.cpu, "instructions")
        self.cpu.tune_translator(1, True, budget)
        self.cpu.set_deadline_ns(1)
        return Reason(self.cpu.run()), counter_of(self.cpu, "instructions") - before

    def step(self, count: int) -> Reason:
        self.cpu.set_deadline_ns(0)
        self.cpu.set_debug_steps(count)
        return Reason(self.cpu.run())

    def follow(self, other: Side, reason: Reason, count: int) -> bool:
        """Under the interpreter to where the other has come: whether that was found."""
        if reason is not Reason.INTERRUPTED:
            return self.step(count + SLACK) is reason
        start = counter_of(self.cpu, "instructions")
        while (left := count - SLACK - (counter_of(self.cpu, "instructions") - start)) > 0:
            if self.step(max(1, left // REP_COUNTS)) is not Reason.DEBUG:
                return False
        wanted = other.cpu.regs.rip, other.cpu.regs.rcx
        for _ in range(count + SLACK):
            found = self.cpu.regs.rip, self.cpu.regs.rcx
            if found == wanted and not register_differences(self.cpu, other.cpu, FLAGS):
                return True
            if self.step(1) is not Reason.DEBUG:
                return False
        return False


@dataclass
class Moment:
    """A paused machine's processor and RAM."""

    record: bytes
    chunks: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, machine: Machine) -> Moment:
        moment = cls(machine.cpus[0].save())
        for gpa, size, is_rom in machine.memory.regions():
            if not is_rom:
                for at in range(gpa, gpa + size, CHUNK):
                    moment.chunks[at] = machine.memory.read(at, min(CHUNK, gpa + size - at))
        return moment


def memory_differences(left: Side, right: Side, moment: Moment) -> Iterator[str]:
    for gpa, page in moment.chunks.items():
        a, b = left.memory.read(gpa, len(page)), right.memory.read(gpa, len(page))
        if a != b:
            for k in range(len(a)):
                if a[k] != b[k] and not is_flags(k, a[k] ^ b[k]):
                    yield f"[{gpa + k:#x}]: {a[k]:#x} {b[k]:#x}"


def is_flags(at: int, difference: int) -> bool:
    """Whether it may be undefined flags that an exception or PUSHF has saved."""
    return at % 4 < 2 and not difference & ~(ARITHMETIC >> 8 * (at % 4))


class Judge:
    """Compares from moments of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.translating = Side(machine, "translate")
        self.interpreting = Side(machine, "interpret")
        self.doubting = Side(machine, "interpret")
        self.instructions = 0
        self.doubts = 0

    def compare(self, moment: Moment) -> list[str]:
        """What differs, if the interpreter would not differ from itself."""
        ours, theirs = self.translating, self.interpreting
        ours.take(moment)
        theirs.take(moment)
        done = 0
        for budget in BUDGETS:
            at = hex(ours.cpu.regs.rip)
            reason, count = ours.run(budget)
            done += count
            if not theirs.follow(ours, reason, count) or register_differences(ours.cpu, theirs.cpu, FLAGS):
                found = [f"{count} instructions from {at}, {reason.name}"]
                found += register_differences(ours.cpu, theirs.cpu, FLAGS)
                return [] if self.is_doubtful(moment, done) else found
            if reason is not Reason.INTERRUPTED:
                break
        self.instructions += done
        found = list(memory_differences(ours, theirs, moment))[:8]
        return [] if found and self.is_doubtful(moment, done) else found

    def is_doubtful(self, moment: Moment, count: int) -> bool:
        """Whether the interpreter differs from itself at another time."""
        first, second = self.interpreting, self.doubting
        first.take(moment)
        first.step(count)
        for age_ns in AGES_NS[1:]:
            second.take(moment, age_ns)
            second.step(count)
            if register_differences(first.cpu, second.cpu, FLAGS) or any(
                memory_differences(first, second, moment)
            ):
                self.doubts += 1
                return True
        return False
