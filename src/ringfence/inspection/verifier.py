"""Proof that translated code can't leave its bounds: what the design's "nothing escapes" means.

Each translation is decoded again, by other people's decoder, and run through with unknown values, one
straight line at a time. Every memory operand must be

 *  in the vCPU's context at a fixed address, and written only where translated code has business, or
 *  a field of a TLB or jump-cache entry whose index was masked to the array's size, or
 *  in a page of guest RAM: the TLB entry of *that* linear address was compared with it before, and what was
    found to be the offset in the page leaves room for the operand.

An empty TLB entry holds a tag that belongs to another index, so the index must be the address's own. Jumps go
to an instruction of the same translation, to the way in of a live one if the exit's record says that it is
linked to it, to a call-out that has been told a record of this translation, or through the jump cache after
its tag was compared. Nothing that touches the host's stack, segments or control registers may occur.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfence.api.translations import Exit, Layout, Translation, Translations
from ringfence.inspection.effects import Step, decode
from ringfence.inspection.state import State


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
        self.steps = list(decode(block.host, block.entry))
        self.starts = {step.position for step in self.steps}
        self.targets = {step.target for step in self.steps}
        self.records = {site.address for site in block.sites} | {exit.address for exit in block.exits}
        self.sites = {site.address for site in block.sites}
        self.jumps = {at: exit for exit in block.exits for at in (exit.field, exit.convert_field) if at}

    def run(self) -> Iterator[Violation]:
        joins = self._joins()
        state = State(self.layout, self.block)
        for where in sorted(joins - self.starts):
            yield Violation(self.block.rip, where, b"", "a way in that is no instruction's start")
        for step in self.steps:
            if step.position in joins:
                state = State(self.layout, self.block)
            reason = state.take(step.effect) or self._check_flow(step, state)
            if reason:
                yield Violation(self.block.rip, step.position, step.code, reason)
            if step.effect.flow in ("jump", "indirect"):
                state = State(self.layout, self.block)
        last = self.steps[-1] if self.steps else None
        if last is None or last.end != self.block.end or last.effect.flow not in ("jump", "indirect"):
            yield Violation(self.block.rip, self.block.end, b"", "the code runs on past its end")

    def _joins(self) -> set[int]:
        """Where control may arrive other than from the instruction before."""
        joins = {self.block.entry, self.block.body}
        joins.update(target for target in self.targets if self._is_own(target))
        for site in self.block.sites:
            joins.update(at for at in (site.retry, site.resume) if at)
            if site.kind == "leave" and site.resume == self.block.end:
                joins.discard(site.resume)
        for exit in self.block.exits:
            joins.update(at for at in (exit.stub, exit.convert) if at)
        return joins

    def _is_own(self, position: int) -> bool:
        return self.block.entry <= position < self.block.end

    def _check_flow(self, step: Step, state: State) -> str:
        flow = step.effect.flow
        if flow == "indirect":
            return state.check_indirect(step.effect)
        if flow == "" or self._is_own(step.target):
            return ""
        exit = self.jumps.get(step.end - 4)
        if exit is not None:
            return self._check_link(step, exit)
        site = state.site
        if step.target == self.layout.callouts.get(self.block.map):
            return "" if site in self.sites else "a call-out that was told no record of this translation"
        if step.target == self.layout.leaves.get(self.block.map):
            return "" if site in self.records else "a way out that was told no record of this translation"
        return f"a jump to {step.target:#x}, which is no way in"

    def _check_link(self, step: Step, exit: Exit) -> str:
        target = self.entries.get(exit.target)
        is_converted = step.end - 4 == exit.convert_field
        if is_converted and exit.convert not in self.targets:
            # linked past it, or not at all: nothing goes there
            return ""
        if target is None:
            return "an exit that goes to a translation that is gone"
        if step.target == target.entry and (is_converted or self.block.map == self.layout.canonical):
            return ""
        if step.target == target.body and self.block.map == target.map and not is_converted:
            return ""
        return "an exit that goes elsewhere than to its target"
