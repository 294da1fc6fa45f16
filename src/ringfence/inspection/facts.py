"""What is known at one place of translated code, and what is left of it where two ways meet.

Names of unknowns say where they were made, so a fact that holds on two ways reads the same on both. On a way
back to an earlier place only facts survive that held when it was first reached: none of their names is made
on the way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ringfence.inspection.values import Value, possible_bits, unknown

GENERAL_REGISTERS = range(16)


@dataclass(frozen=True, slots=True)
class Entry:
    """A TLB entry, or a copy of one: its fields as they were read at one time.

    Attributes:
        kind: the array's name, ``slot``, or ``join`` for one of several.
        view: of the TLB.
        is_write: writes may go by it.
        index: byte offset in the array; a slot's address.
        epoch: where control last came back from a call-out, which may change them all.
    """

    kind: str
    view: int
    is_write: bool
    index: Value
    epoch: int


@dataclass(slots=True)
class State:
    """Facts at one place.

    Attributes:
        origin: where registers that nothing was written to were last unknown.
        words: what the context's words hold, by address.
        bounds: value -> what it is at most; of ``address - tag`` only where the entry is that address's own.
        pages: entry -> the page whose tag it was compared with.
        matched: index -> the jump-cache entry's tag was compared with its address.
        compared: the last comparison, while the flags are still its.
        filled: the slot that is being written, the entry it copies and the fields that are done.
    """

    origin: int
    epoch: int
    registers: dict[int, Value] = field(default_factory=dict)
    words: dict[int, Value] = field(default_factory=dict)
    bounds: dict[Value, int] = field(default_factory=dict)
    pages: dict[Entry, int] = field(default_factory=dict)
    matched: frozenset[Value] = frozenset()
    compared: tuple[str, Value, Value] | None = None
    filled: tuple[int, Entry, int] | None = None

    def register(self, number: int) -> Value:
        value = self.registers.get(number)
        return unknown("in", self.origin, number) if value is None else value

    def copy(self) -> State:
        return State(
            self.origin, self.epoch, dict(self.registers), dict(self.words), dict(self.bounds),
            dict(self.pages), self.matched, None, self.filled,
        )  # fmt: skip

    def says_as_much_as(self, other: State) -> bool:
        """Whether no fact of the other one is missing here."""
        return (
            all(self.register(number) == other.register(number) for number in GENERAL_REGISTERS)
            and (self.epoch, self.words, self.bounds) == (other.epoch, other.words, other.bounds)
            and (self.pages, self.matched) == (other.pages, other.matched)
        )

    def at_most(self, value: Value) -> int | None:
        """What a value is at most; None where nothing is known."""
        if value.is_constant:
            return value.constant
        if value in self.bounds:
            return self.bounds[value]
        return possible_bits(value)

    def is_valid(self, entry: Entry) -> bool:
        """Whether it was seen to hold a page."""
        tag = ("tag", entry)
        return entry in self.pages or any((tag, -1) in value.terms for value in self.bounds)

    def come_back(self, where: int, scratch: Iterable[int]) -> None:
        """From a call-out that has left the registers as they were, all but those that nobody reads."""
        self.epoch = where
        self.words.clear()
        self.pages.clear()
        self.matched = frozenset()
        for number in scratch:
            self.registers[number] = unknown("lost", where, number)


def join(one: State, other: State, where: int) -> State:
    """What holds on both ways to ``where``."""
    one, other = _same_names(one, other, where)
    registers = {}
    for number in GENERAL_REGISTERS:
        value = one.register(number)
        registers[number] = value if value == other.register(number) else unknown("join", where, number)
    return State(
        where,
        one.epoch if one.epoch == other.epoch else where,
        registers,
        {at: value for at, value in one.words.items() if other.words.get(at) == value},
        {
            value: max(bound, other.bounds[value])
            for value, bound in one.bounds.items()
            if value in other.bounds
        },
        {entry: page for entry, page in one.pages.items() if other.pages.get(entry) == page},
        one.matched & other.matched,
        None,
        one.filled if one.filled == other.filled else None,
    )


def _same_names(one: State, other: State, where: int) -> tuple[State, State]:
    """Where a register has a field of one entry on one way and of another on the other, a new name for both:
    what is known of both is known of it."""
    for number in GENERAL_REGISTERS:
        mine, theirs = one.register(number).atom, other.register(number).atom
        if mine == theirs or mine is None or theirs is None:
            continue
        if mine[0] != theirs[0] or mine[0] not in ("addend", "page") or mine[1].view != theirs[1].view:
            continue
        is_write = mine[1].is_write and theirs[1].is_write
        entry = Entry("join", mine[1].view, is_write, Value(number), where)
        one, other = _renamed(one, mine[1], entry), _renamed(other, theirs[1], entry)
    return one, other


def _renamed(state: State, old: Entry, new: Entry) -> State:
    copy = state.copy()
    copy.registers = {number: _rename(value, old, new) for number, value in state.registers.items()}
    copy.pages = {new if entry == old else entry: page for entry, page in state.pages.items()}
    copy.bounds = {_rename(value, old, new): bound for value, bound in state.bounds.items()}
    return copy


def _rename(value: Value, old: Entry, new: Entry) -> Value:
    names = {("tag", old): ("tag", new), ("addend", old): ("addend", new), ("page", old): ("page", new)}
    if not any(atom in names for atom, _ in value.terms):
        return value
    return Value(value.constant, frozenset((names.get(atom, atom), times) for atom, times in value.terms))
