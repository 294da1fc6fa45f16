"""Proof that translated code can't leave its bounds: what the design's "nothing escapes" means.

Each translation is decoded again, by other people's decoder, and run through with unknown values (facts.py).
Every memory operand must be

 *  in the vCPU's context at a fixed address, and written only where translated code has business, or
 *  a field of a TLB or jump-cache entry whose index was masked to the array's size, or
 *  in a page of guest RAM: the TLB entry of *that* linear address was compared with it before, and what was
    found to be the offset in the page leaves room for the operand. A slot counts as such an entry, and is
    written with nothing else.

An empty TLB entry holds a tag that belongs to another index, so the index must be the address's own. Jumps go
to an instruction of the same translation, to the way in of a live one if the exit's record says that it is
linked to it, to a call-out that has been told a record of this translation, or through the jump cache after
its tag was compared. Nothing that touches the host's stack, segments or control registers may occur.

Taken on trust are the routines that all translations share, and the C functions that they call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ringfence.api.translations import Exit, Layout, Translation, Translations
from ringfence.inspection.effects import Step, decode
from ringfence.inspection.execution import execute, not_taken
from ringfence.inspection.facts import State, join
from ringfence.inspection.loops import find_loops
from ringfence.inspection.memory import Rules

#: through a translation, until what is known at each place no longer changes
WALKS = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """Where a translation breaks a rule: at ``position`` in the code cache."""

    rip: int
    position: int
    code: bytes
    reason: str

    def __str__(self) -> str:
        code = self.code.hex()
        return f"block at {self.rip:#x}, host code at {self.position:#x} ({code}): {self.reason}"


def verify(found: Translations) -> Iterator[Violation]:
    """Everything that is wrong."""
    entries = {block.entry: block for block in found.blocks}
    for block in found.blocks:
        yield from _Proof(found.layout, entries, block).run()


class _Proof:
    """Of one translation."""

    def __init__(self, layout: Layout, entries: dict[int, Translation], block: Translation) -> None:
        self.layout = layout
        self.entries = entries
        self.block = block
        self.rules = Rules(layout, block)
        #: its code, piece by piece
        self.pieces = [list(decode(block.host, block.entry))]
        self.pieces += [list(decode(patch.host, patch.position)) for patch in block.patches]
        self.ranges = [(block.entry, block.end), *((patch.position, patch.end) for patch in block.patches)]
        self.steps = [step for piece in self.pieces for step in piece]
        self.starts = {step.position for step in self.steps}
        self.targets = {step.target for step in self.steps}
        self.sites = {site.address: site for site in block.sites}
        self.exits = {exit.address for exit in block.exits}
        self.jumps = {at: exit for exit in block.exits for at in (exit.field, exit.convert_field) if at}
        self.retries = {site.retry for site in block.sites if site.kind in ("memory", "slot")}
        #: a probe that does without its slot: its first instruction may become a jump there
        self.bypasses = {site.retry: site.direct for site in block.sites if site.direct}
        self.outside = self._arrivals_from_outside()
        #: by the branch back, and by the head
        self.loops = find_loops(self.steps, self.outside | self.retries | set(self.bypasses.values()))
        self.heads = {loop.head: loop for loop in self.loops.values()}
        #: place -> what held on the ways back to it, in the last walk, and what this one finds
        self.returns: dict[int, State] = {}
        self.found: dict[int, State] = {}
        #: what is known at each place that something goes to
        self.known: dict[int, State] = {}

    def run(self) -> Iterator[Violation]:
        for where in sorted((self.outside | self.retries | set(self.bypasses.values())) - self.starts):
            yield Violation(self.block.rip, where, b"", "a way in that is no instruction's start")
        for where in sorted(target for target in self.targets - self.starts if self._is_own(target)):
            yield Violation(self.block.rip, where, b"", "a jump that is to no instruction's start")
        for piece, (_, end) in zip(self.pieces, self.ranges, strict=True):
            last = piece[-1] if piece else None
            if last is None or last.end != end or last.effect.flow not in ("jump", "indirect"):
                yield Violation(self.block.rip, end, b"", "the code runs on past its end")
        for _ in range(WALKS):
            self.found = {}
            violations = list(self._walk())
            if self.found == self.returns and all(loop.assumed == loop.facts for loop in self.loops.values()):
                yield from violations
                return
            # as a whole: names in what an earlier walk found may be nobody's any more
            self.returns = self.found
        yield Violation(self.block.rip, self.block.entry, b"", "the ways through it are too many to follow")

    def _arrivals_from_outside(self) -> set[int]:
        """Where nothing is known: control may come from another translation or an interpreted instruction."""
        found = {self.block.entry, self.block.body, *self.block.ways_in}
        for site in self.block.sites:
            if site.may_resume:
                found.add(site.resume)
        for exit in self.block.exits:
            found.update(at for at in (exit.stub, exit.convert) if at)
        return found

    def _is_own(self, position: int) -> bool:
        return any(start <= position < end for start, end in self.ranges)

    def _walk(self) -> Iterator[Violation]:
        """Once through the code, from each place to the next and to where its branches go."""
        ahead: dict[int, list[State]] = defaultdict(list)
        state: State | None = None
        for step in self.steps:
            where = step.position
            arrivals = ahead.pop(where, [])
            if (
                state is not None
                and state.filled
                and (arrivals or where in self.outside or where in self.returns)
            ):
                yield Violation(self.block.rip, where, step.code, "a way to where a slot is half written")
            state = self._arrive(where, arrivals + ([state] if state else []))
            if where in self.targets or where in self.retries:
                self.known[where] = state.copy()
            if where in self.bypasses:
                self._go(where, self.bypasses[where], state, ahead)
            reason = execute(step, state, self.rules)
            if not reason and step.effect.flow:
                reason = self._check_flow(step, state, ahead)
            if reason:
                yield Violation(self.block.rip, where, step.code, reason)
            if step.effect.flow in ("jump", "indirect"):
                state = None
            elif step.effect.flow == "branch":
                not_taken(step.effect.condition, state, self.rules)

    def _arrive(self, where: int, states: list[State]) -> State:
        loop = self.heads.get(where)
        way_in = states[0] if len(states) == 1 else None
        if where in self.returns:
            states.append(self.returns[where])
        if where in self.outside or not states:
            return State(where, where)
        state = states[0]
        for other in states[1:]:
            state = join(state, other, where)
        if where in self.retries:
            state = state.copy()
            state.come_back(where, self.block.registers[:2])
        if loop is not None:
            state = state.copy()
            loop.enter(way_in, state)
        return state

    def _go(self, source: int, target: int, state: State, ahead: dict[int, list[State]]) -> None:
        """Control goes from ``source`` to ``target`` of the same translation."""
        if target > source:
            ahead[target].append(state.copy())
        elif target not in self.outside and target in self.known:
            left = join(self.known[target], state, target)
            if target in self.retries:
                left.come_back(target, self.block.registers[:2])
            if target in self.returns or not left.says_as_much_as(self.known[target]):
                before = self.found.get(target)
                self.found[target] = join(before, state, target) if before else state.copy()

    def _check_flow(self, step: Step, state: State, ahead: dict[int, list[State]]) -> str:
        if step.effect.flow == "indirect":
            return self._check_indirect(step, state)
        exit = self.jumps.get(step.end - 4)
        if exit is not None and step.end - 4 == exit.convert_field and exit.convert not in self.targets:
            # linked past it, or not at all: nothing comes here
            return ""
        if step.position in self.loops:
            self.loops[step.position].turn(state)
        if self._is_own(step.target):
            self._go(step.position, step.target, state, ahead)
            return ""
        if exit is not None:
            return self._check_link(step, exit)
        word = state.words.get(self.rules.fields["site"])
        record = word.constant if word is not None and word.is_constant else None
        if step.target == self.layout.callouts.get(self.block.map):
            site = self.sites.get(record or 0)
            if site is None:
                return "a call-out that was told no record of this translation"
            if site.retry:
                self._go(step.position, site.retry, state, ahead)
            return ""
        if step.target == self.layout.leaves.get(self.block.map):
            is_own = record in self.exits or record in self.sites
            return "" if is_own else "a way out that was told no record of this translation"
        return f"a jump to {step.target:#x}, which is no way in"

    def _check_indirect(self, step: Step, state: State) -> str:
        """Through a jump-cache entry that matched, at once or by way of `jump_target`."""
        if len(step.effect.accesses) == 1:
            access = step.effect.accesses[0]
            address = self.rules.address(access, state)
            found = self.rules.member(address, access.size, state)
            word = state.words.get(address.constant) if address.is_constant else None
            atom = found if found is not None else word.atom if word is not None else None
            if atom is not None and atom[0] == "host" and atom[1] in state.matched:
                return ""
        return "an indirect jump that does not go through the jump cache"

    def _check_link(self, step: Step, exit: Exit) -> str:
        target = self.entries.get(exit.target)
        is_converted = step.end - 4 == exit.convert_field
        if target is None:
            return "an exit that goes to a translation that is gone"
        if step.target == target.entry and (is_converted or self.block.map == self.layout.canonical):
            return ""
        if step.target == target.body and self.block.map == target.map and not is_converted:
            return ""
        return "an exit that goes elsewhere than to its target"
