"""Proof of counted loops: code that reaches guest RAM with no check but of a counter of turns.

Before such a loop a window's range was found to be in a page: its offset there is ``address - tag``, at most
``bound``. If the address moves by ``stride`` a turn, and the counter is at most (bound - offset) / stride (or
offset / -stride), then the offset stays within the bound in each counted turn. The proof has three parts:

 *  the way in: the counter is the least of some values, one of which is at most that quotient; it is taken
    down by one, without a borrow, right before the loop's head. The code itself shows which bound that is.
 *  a turn: from the head to the branch back to it the address moves by exactly one stride, and the counter,
    which nothing else changes, is taken down by one, without a borrow again.
 *  no other way leads to the head.

A loop is recognised by its branches; what the translator meant does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ringfence.inspection.effects import Step
from ringfence.inspection.facts import GENERAL_REGISTERS, State
from ringfence.inspection.values import MASK64, Atom, Value, unknown

BORROW, NO_BORROW = 2, 3
PAGE_MASK = 4095


@dataclass(frozen=True, slots=True)
class Fact:
    """Holds at the head in each turn: base + index * ``scale`` + ``distance`` - tag <= ``bound``, where the
    register ``holder`` has the addend of the tag's entry."""

    base: int
    index: int
    scale: int
    distance: int
    holder: int
    bound: int


@dataclass(slots=True)
class Loop:
    """One by its head, with what is known of it so far.

    Attributes:
        operands: base, index and scale of all addresses in it.
        facts: what the last walk proved, for the next one to assume.
        assumed: what this one assumes.
        way_in, inside: what is known when it is entered, and at its head in any turn.
    """

    head: int
    counter: int
    operands: frozenset[tuple[int, int, int]]
    facts: frozenset[Fact] = frozenset()
    assumed: frozenset[Fact] = frozenset()
    way_in: State | None = field(default=None)
    inside: State | None = field(default=None)

    def enter(self, way_in: State | None, inside: State) -> None:
        """At the head: ``inside`` is given the facts."""
        self.way_in = way_in
        self.inside = inside.copy()
        self.assumed = self.facts
        for fact in self.facts:
            tag = _tag_of(inside, fact.holder)
            if tag is not None:
                address = _address(inside, fact.base, fact.index, fact.scale)
                value = address.plus(Value(fact.distance)).minus(unknown(*tag))
                inside.bounds[value] = min(fact.bound, inside.bounds.get(value, fact.bound))

    def turn(self, state: State) -> None:
        """At the branch back to the head, before it is taken."""
        self.facts = frozenset(self._proved(state))

    def _proved(self, state: State) -> Iterator[Fact]:
        way_in, inside = self.way_in, self.inside
        if way_in is None or inside is None:
            return
        turns = way_in.register(self.counter).plus(Value(1))
        if state.register(self.counter).plus(Value(1)) != inside.register(self.counter):
            return
        holders = [
            (number, tag)
            for number in GENERAL_REGISTERS
            if (tag := _tag_of(way_in, number)) and state.register(number) == inside.register(number)
        ]
        for base, index, scale in self.operands:
            moved = _address(state, base, index, scale).minus(_address(inside, base, index, scale))
            if not moved.is_constant:
                continue
            stride = moved.constant - (1 << 64) if moved.constant >> 63 else moved.constant
            start = _address(way_in, base, index, scale)
            for value, bound in way_in.bounds.items():
                for holder, tag in holders:
                    if (tag, -1) not in value.terms or bound > PAGE_MASK:
                        continue
                    before = value.plus(unknown(*tag))
                    distance = before.minus(start)
                    if distance.is_constant and _is_counted(turns, before, bound, stride):
                        yield Fact(base, index, scale, (distance.constant + stride) & MASK64, holder, bound)


def find_loops(steps: Sequence[Step], outside: set[int]) -> dict[int, Loop]:
    """The loops of a translation, by the position of the branch back."""
    numbers = {step.position: number for number, step in enumerate(steps)}
    arrivals: dict[int, int] = {}
    for step in steps:
        arrivals[step.target] = arrivals.get(step.target, 0) + 1
    found = {}
    for number, step in enumerate(steps):
        head = numbers.get(step.target, number)
        if step.effect.flow != "branch" or step.effect.condition != NO_BORROW or head > number or head < 2:
            continue
        counter = _counts_down(steps[number - 1])
        before_it = steps[head - 1]
        is_entered_so = before_it.effect.flow == "branch" and before_it.effect.condition == BORROW
        if counter is None or not is_entered_so or _counts_down(steps[head - 2]) != counter:
            continue
        # no way to the head but from above and from the branch, and none to a branch but from its SUB
        branches = {step.position, before_it.position}
        if (
            arrivals[step.target] == 1
            and not (outside | arrivals.keys()) & branches
            and step.target not in outside
        ):
            found[step.position] = Loop(step.target, counter, _operands(steps[head:number]))
    return found


def _counts_down(step: Step) -> int | None:
    """The register that SUB takes one from."""
    effect = step.effect
    if effect.name != "sub" or effect.bits != 64 or len(effect.operands) != 2:
        return None
    left, right = effect.operands
    return left.value if (left.kind, right.kind, right.value) == ("register", "immediate", 1) else None


def _operands(steps: Sequence[Step]) -> frozenset[tuple[int, int, int]]:
    found = set()
    for step in steps:
        for memory in (*step.effect.accesses, *([step.effect.address] if step.effect.address else [])):
            found |= {(memory.base, memory.index, memory.scale), (memory.base, -1, 1), (memory.index, -1, 1)}
    return frozenset(found)


def _tag_of(state: State, number: int) -> Atom | None:
    """The tag of the entry whose addend a register has."""
    atom = state.register(number).atom
    return ("tag", atom[1]) if atom is not None and atom[0] == "addend" else None


def _address(state: State, base: int, index: int, scale: int) -> Value:
    value = state.register(base) if base >= 0 else Value()
    return value.plus(state.register(index), scale) if index >= 0 else value


def _is_counted(turns: Value, before: Value, bound: int, stride: int) -> bool:
    """Whether ``turns`` strides from ``before``, whose offset is at most ``bound``, keep it so."""
    if stride == 0:
        return True
    atom = turns.atom
    if atom is not None and atom[0] == "min":
        return any(_is_counted(part, before, bound, stride) for part in atom[1:])
    room, divisor, factor = turns, 1, 1
    if atom is not None and atom[0] == "shr64":
        room, divisor = atom[1], 1 << atom[2]
        product = room.atom
        if product is not None and product[0] == "imul64":
            room, factor = product[1], product[2]
    # the page's address has no bits below its size
    offset = unknown("and", before, PAGE_MASK)
    if abs(stride) * factor > divisor or factor < 1:
        return False
    return room == (Value(bound).minus(offset) if stride > 0 else offset)
