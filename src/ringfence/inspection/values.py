"""What is known of a value in translated code: a constant plus unknowns, each times a factor.

Unknowns are compared, never computed: two values are the same if they were made the same way from the same
things. All arithmetic is modulo 2^64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MASK64 = (1 << 64) - 1
MASK32 = (1 << 32) - 1
#: An unknown: a tuple that says how it was made.
Atom = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """``constant`` + sum of unknown * factor."""

    constant: int = 0
    terms: frozenset[tuple[Atom, int]] = field(default_factory=frozenset)

    def plus(self, other: Value, factor: int = 1) -> Value:
        constant = (self.constant + other.constant * factor) & MASK64
        if not other.terms:
            return Value(constant, self.terms)
        if not self.terms and factor == 1:
            return Value(constant, other.terms)
        if self.terms == other.terms and factor == -1:
            return Value(constant)
        factors = dict(self.terms)
        for atom, times in other.terms:
            factors[atom] = factors.get(atom, 0) + times * factor
            if not factors[atom]:
                del factors[atom]
        return Value(constant, frozenset(factors.items()))

    def minus(self, other: Value) -> Value:
        return self.plus(other, -1)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    @property
    def atom(self) -> Atom | None:
        """The unknown that it is, and nothing else."""
        if self.constant or len(self.terms) != 1:
            return None
        ((atom, times),) = self.terms
        return atom if times == 1 else None


def unknown(*how: Any) -> Value:
    """The unknown that is made in this way."""
    return Value(0, frozenset({(how, 1)}))


def possible_bits(value: Value) -> int | None:
    """A mask of all bits that can be set; None where nothing is known."""
    if value.is_constant:
        return value.constant
    atom = value.atom
    if atom is None:
        return None
    if atom[0] == "word32":
        return MASK32
    if atom[0] == "and":
        below = possible_bits(atom[1])
        return int(atom[2]) if below is None else atom[2] & below
    if atom[0] == "shl":
        below = possible_bits(atom[1])
        return None if below is None else below << atom[2]
    return None
