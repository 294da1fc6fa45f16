"""One instruction of translated code, run with what is known: what is known after it."""

from __future__ import annotations

from ringfence.inspection.effects import Memory, Operand, Step
from ringfence.inspection.facts import State
from ringfence.inspection.memory import Rules
from ringfence.inspection.values import MASK32, MASK64, Value, possible_bits, unknown

#: conditions by number
JAE, JNE, JA = 3, 5, 7
#: bits of RFLAGS
IF, DF = 1 << 9, 1 << 10


def execute(step: Step, state: State, rules: Rules) -> str:
    """Check an instruction, and take ``state`` past it; what is wrong with it, or nothing."""
    effect = step.effect
    if effect.error:
        return effect.error
    for access in effect.accesses:
        reason = rules.check(access, state)
        if reason:
            return reason
    if effect.flow:
        return "a slot is left half written" if state.filled else ""
    return _Instruction(step, state, rules).run()


def not_taken(condition: int, state: State, rules: Rules) -> None:
    """What a conditional branch that was not taken shows."""
    if state.compared is None:
        return
    name, left, right = state.compared
    if name == "cmp" and condition == JNE:
        _note_equal(left, right, state, rules)
        _note_equal(right, left, state, rules)
    if not right.is_constant:
        return
    if name == "cmp" and condition == JA:
        _note_bound(left, right.constant, state, rules)
    elif name == "cmp" and condition == JAE and right.constant:
        _note_bound(left, right.constant - 1, state, rules)
    elif name == "test" and condition == JNE:
        _note_bound(left, ~right.constant & MASK64, state, rules)


def _note_bound(value: Value, bound: int, state: State, rules: Rules) -> None:
    for atom, times in value.terms:
        if atom[0] == "tag" and times == -1 and not rules.is_own_index(atom[1], value.plus(unknown(*atom))):
            return
    state.bounds[value] = min(bound, state.bounds.get(value, bound))


def _note_equal(one: Value, other: Value, state: State, rules: Rules) -> None:
    atom = one.atom
    if atom is None:
        return
    if atom[0] == "tag" and other.is_constant and rules.is_own_index(atom[1], other):
        state.pages[atom[1]] = other.constant
    elif atom[0] == "jump_tag" and rules.is_own_jump(atom[1], other, state):
        state.matched |= {atom[1]}


class _Instruction:
    """One that is no branch."""

    def __init__(self, step: Step, state: State, rules: Rules) -> None:
        self.position = step.position
        self.effect = step.effect
        self.state = state
        self.rules = rules

    def run(self) -> str:
        effect, state = self.effect, self.state
        result = self._result()
        if effect.name in ("cmp", "test"):
            left, right = (self._value(operand) for operand in effect.operands)
            is_whole = effect.bits == 64 or (possible_bits(left) or MASK64) <= MASK32
            state.compared = (effect.name, left, right) if is_whole else None
        elif effect.changes_flags:
            state.compared = None
        for access in effect.accesses:
            if access.is_write:
                if self._is_flags(access) and not self._keeps_mode():
                    return "a system flag is written that the mode depends on"
                reason = self._store(access, result if effect.name == "mov" else None)
                if reason:
                    return reason
        for register in effect.writes:
            state.registers[register] = result or unknown("new", self.position, register)
        return ""

    def _load(self, access: Memory) -> Value:
        address = self.rules.address(access, self.state)
        member = self.rules.member(address, access.size, self.state)
        if member is not None:
            if isinstance(member[1], Value) or member[1].kind != "slot":
                return unknown(*member)
            # what was just written to a slot, or what it has held for long
            return self.state.words.get(address.constant) or unknown(*member)
        if access.size == 4:
            return unknown("word32", self.position)
        if address.is_constant and access.size == 8:
            return self.state.words.setdefault(address.constant, unknown("word", self.position))
        return unknown("loaded", self.position)

    def _value(self, operand: Operand) -> Value:
        if operand.kind == "register":
            return self.state.register(operand.value)
        if operand.kind == "immediate":
            return Value(operand.value & MASK64)
        return self._load(self.effect.accesses[0])

    def _store(self, access: Memory, value: Value | None) -> str:
        rules, state = self.rules, self.state
        address = rules.address(access, state)
        if not address.is_constant:
            if rules.is_slot_list(address, access, state) and (
                value is None or value.constant not in rules.slots
            ):
                return "the list of slots is given something else"
            return ""
        at = address.constant
        for word in [word for word in state.words if at - 8 < word < at + access.size]:
            del state.words[word]
        if access.size == 8 and value is not None:
            state.words[at] = value
        if 0 <= at - rules.fields["slot_count"] < 4:
            return self._check_slot_count(value)
        found = rules.slot_field(at, access.size)
        return self._fill_slot(*found, value) if found and access.size == 8 else ""

    def _is_flags(self, access: Memory) -> bool:
        at = self.rules.address(access, self.state)
        return at.is_constant and -8 < at.constant - self.rules.fields["rflags"] < 8

    def _keeps_mode(self) -> bool:
        """Of RFLAGS only IF and DF change: AND and OR with a constant, XOR with what has no other bits."""
        if self.effect.bits != 32 or len(self.effect.operands) != 2:
            return False
        other = self._value(self.effect.operands[1])
        if self.effect.name == "and":
            other = Value(~other.constant & MASK32, other.terms)
        elif self.effect.name not in ("or", "xor"):
            return False
        bits = possible_bits(other)
        return bits is not None and not bits & ~(IF | DF)

    def _check_slot_count(self, value: Value | None) -> str:
        if value is not None:
            before = self.state.bounds.get(value.minus(Value(1)))
            if before is not None and before < self.rules.layout.slot_limit:
                return ""
        return "the number of slots may grow over its limit"

    def _fill_slot(self, slot: int, name: str, value: Value | None) -> str:
        """A slot gets the addend, then the page, then the tag of one entry that was seen to be valid, and
        nothing in between."""
        state = self.state
        if name == "addend":
            atom = value.atom if value else None
            is_write = self.rules.slots[slot].is_write
            if atom is None or atom[0] != "addend" or not state.is_valid(atom[1]):
                return "a slot is given an addend that was not compared with an address"
            if atom[1].view != self.rules.block.view or atom[1].is_write < is_write:
                return "a slot is given an addend of another kind"
            state.filled = (slot, atom[1], 1)
            return ""
        if state.filled is not None and state.filled[0] == slot and value is not None:
            entry, done = state.filled[1:]
            page = unknown("page", entry)
            if name == "page" and done == 1 and value == page:
                state.filled = (slot, entry, 2)
                return ""
            if name == "tag" and done == 2 and value == page.minus(unknown("addend", entry)):
                state.filled = None
                return ""
        return "a slot is given something else than a TLB entry"

    def _result(self) -> Value | None:
        """What the first operand becomes, where that is followed."""
        effect = self.effect
        name, bits = effect.name, effect.bits
        if not name or name in ("cmp", "test"):
            return None
        if name == "lea":
            assert effect.address is not None
            return self._narrow(self.rules.address(effect.address, self.state), bits)
        first, *others = (self._value(operand) for operand in effect.operands)
        if name == "mov":
            return self._narrow(others[0], bits)
        if name == "cmovb":
            is_less = bits == 64 and self.state.compared == ("cmp", others[0], first)
            return unknown("min", first, others[0]) if is_less else None
        if name == "imul":
            # of 64 bits by a constant
            is_simple = bits == 64 and len(others) == 2 and others[1].is_constant
            return unknown("imul64", others[0], others[1].constant) if is_simple else None
        if name == "rorx":
            return unknown("ror64", others[0], others[1].constant) if bits == 64 else None
        if name in ("add", "sub") and bits == 64:
            return first.plus(others[0]) if name == "add" else first.minus(others[0])
        if name in ("inc", "dec") and bits == 64:
            return first.plus(Value(1)) if name == "inc" else first.minus(Value(1))
        if name == "xor" and first.is_constant and others[0].is_constant:
            return self._narrow(Value(first.constant ^ others[0].constant), bits)
        if name == "xor":
            return unknown(f"xor{bits}", first, others[0])
        if name in ("shr", "shl", "and") and others[0].is_constant:
            return _masked(name, first, others[0].constant, bits)
        return None

    def _narrow(self, value: Value, bits: int) -> Value:
        """A result of 32 bits is zero-extended."""
        if bits == 64 or (value.is_constant and value.constant <= MASK32):
            return value
        bound = self.state.at_most(Value(0, value.terms))
        if bound is not None and bound + value.constant <= MASK32:
            return value
        return unknown("low", value)


def _masked(name: str, value: Value, operand: int, bits: int) -> Value | None:
    """Shifts of 64 bits; AND and SHL of 32, whose result is zero-extended."""
    if value.is_constant and name != "shr" and bits in (32, 64):
        made = value.constant & operand if name == "and" else value.constant << operand
        return Value(made & (MASK64 if bits == 64 else MASK32))
    if value.is_constant and bits == 64:
        return Value(value.constant >> operand)
    if bits == 64:
        return None if name == "and" else unknown(f"{name}64", value, operand)
    if bits == 32:
        before = possible_bits(value)
        if name == "and":
            return unknown("and", value, operand & MASK32)
        if before is not None and before << operand <= MASK32:
            return unknown("shl", value, operand)
    return None
