"""What is known at one point of a straight line of translated code, and which accesses that allows."""

from __future__ import annotations

from dataclasses import dataclass

from ringfence.api.translations import Layout, TlbArray, Translation
from ringfence.inspection.effects import Effect, Memory, Operand
from ringfence.inspection.values import MASK64, Value, possible_bits, unknown

PAGE_BYTES = 4096
#: conditions by number
JNE, JA = 5, 7


@dataclass(frozen=True, slots=True)
class Entry:
    """One TLB entry: of an array, at a byte offset in it."""

    array: TlbArray
    index: Value


class State:
    """Registers, the context's words, and what comparisons have shown on this straight line."""

    def __init__(self, layout: Layout, block: Translation) -> None:
        self.layout = layout
        self.block = block
        #: by number; what is not in it has never been looked at
        self.registers: dict[int, Value] = {}
        #: words of the context, by address
        self.words: dict[int, Value] = {}
        #: value -> what it is at most
        self.bounds: dict[Value, int] = {}
        #: TLB entry -> the page that it holds
        self.pages: dict[Entry, int] = {}
        #: indexes of jump-cache entries whose tag has matched
        self.matched: set[Value] = set()
        self.start, self.end = layout.context
        #: the last comparison, while the flags are still its
        self.compared: tuple[str, Value, Value] | None = None

    @property
    def site(self) -> int | None:
        """The record that the next call-out is told."""
        word = self.words.get(self._field("site"))
        return word.constant if word is not None and word.is_constant else None

    def take(self, effect: Effect) -> str:
        """Go on past an instruction; what is wrong with it, or nothing."""
        if effect.error:
            return effect.error
        if effect.flow == "branch":
            self._note_not_taken(effect.condition)
            return ""
        for access in effect.accesses:
            reason = self._check(access)
            if reason:
                return reason
        if effect.flow == "":
            self._execute(effect)
        return ""

    def check_indirect(self, effect: Effect) -> str:
        """An indirect jump: through a jump-cache entry that matched, at once or by way of `jump_target`."""
        if len(effect.accesses) == 1:
            atom = self._load(effect.accesses[0]).atom
            if atom is not None and atom[0] == "host" and atom[1] in self.matched:
                return ""
        return "an indirect jump that does not go through the jump cache"

    # -- accesses --

    def _address(self, memory: Memory) -> Value:
        value = Value(memory.disp & MASK64)
        if memory.index >= 0:
            value = value.plus(self._register(memory.index), memory.scale)
        if memory.base >= 0:
            value = self._register(memory.base).plus(value)
        return value

    def _check(self, access: Memory) -> str:
        address = self._address(access)
        if address.is_constant and self.start <= address.constant <= self.end - access.size:
            return self._check_field(address.constant, access)
        if self._member(address, access) is not None:
            return "an entry of the TLB or the jump cache is written" if access.is_write else ""
        return self._check_guest(address, access)

    def _check_field(self, address: int, access: Memory) -> str:
        if not access.is_write:
            return ""
        for field in self.layout.fields:
            if field.is_written and field.address <= address <= field.address + field.size - access.size:
                return ""
        return "a part of the context is written that translated code has no business with"

    def _check_guest(self, address: Value, access: Memory) -> str:
        for atom, times in address.terms:
            if atom[0] in ("addend", "page") and times == 1:
                return self._check_page(address, atom, access)
        return "an access outside the context that no TLB entry was loaded for"

    def _check_page(self, address: Value, atom: tuple[str, Entry], access: Memory) -> str:
        kind, entry = atom
        if entry.array.view != self.block.view:
            return "a TLB entry of another view"
        if access.is_write and not entry.array.is_write:
            return "a write by way of the TLB for reads"
        offset = address.minus(unknown(*atom))
        page = self.pages.get(entry)
        if page is not None:
            if kind == "addend":
                offset = offset.minus(Value(page))
            return self._check_room(offset, 0, access)
        if kind == "addend":
            offset = offset.minus(unknown("tag", entry))
        for bounded, bound in self.bounds.items():
            delta = offset.minus(bounded)
            if delta.is_constant and delta.constant < PAGE_BYTES:
                if not self._is_index_of(entry, bounded.plus(unknown("tag", entry))):
                    return "a TLB entry whose index is not the address's"
                return self._check_room(delta, bound, access)
        return "an access by way of a TLB entry that was not compared with its address"

    def _check_room(self, offset: Value, bound: int, access: Memory) -> str:
        if offset.is_constant and offset.constant + bound + access.size <= PAGE_BYTES:
            return ""
        return "an access that may run out of its page"

    def _is_index_of(self, entry: Entry, address: Value) -> bool:
        size = self.layout.tlb_entry[0]
        shift = 12 - (size.bit_length() - 1)
        mask = (self.layout.tlb_entries - 1) * size
        return any(
            entry.index == unknown("and", unknown(name, address, shift), mask) for name in ("ror", "shr")
        )

    def _member(self, address: Value, access: Memory) -> tuple[str, object] | None:
        """Which field of which TLB or jump-cache entry an address is: its unknown, for a whole field."""
        if access.size != 8 or len(address.terms) > 1:
            return None
        index = Value(0, address.terms)
        bits = possible_bits(index)
        if bits is None:
            return None
        size, *members = self.layout.tlb_entry
        length = self.layout.tlb_entries * size
        for array in self.layout.tlbs:
            at = address.constant - array.address
            if at >= 0 and at + bits < length and not bits % size and at % size in members:
                name = ("tag", "addend", "page")[members.index(at % size)]
                return name, Entry(array, index.plus(Value(at - at % size)))
        size, *members = self.layout.jump_entry
        at = address.constant - self.layout.jumps
        if (
            at >= 0
            and at + bits < self.layout.jump_entries * size
            and not bits % size
            and at % size in members
        ):
            return ("jump_tag", "host")[members.index(at % size)], index.plus(Value(at - at % size))
        return None

    # -- execution --

    def _register(self, number: int) -> Value:
        value = self.registers.get(number)
        if value is None:
            value = self.registers[number] = unknown()
        return value

    def _load(self, access: Memory) -> Value:
        address = self._address(access)
        member = self._member(address, access)
        if member is not None:
            return unknown(*member)
        if address.is_constant and access.size == 8:
            return self.words.setdefault(address.constant, unknown())
        return unknown()

    def _value(self, operand: Operand, effect: Effect) -> Value:
        if operand.kind == "register":
            return self._register(operand.value)
        if operand.kind == "immediate":
            return Value(operand.value & MASK64)
        return self._load(effect.accesses[0])

    def _execute(self, effect: Effect) -> None:
        result = self._result(effect)
        if effect.name in ("cmp", "test") and effect.bits == 64:
            left, right = (self._value(operand, effect) for operand in effect.operands)
            self.compared = (effect.name, left, right)
        elif effect.changes_flags:
            self.compared = None
        for access in effect.accesses:
            if access.is_write:
                self._store(access, result if effect.name == "mov" else None)
        for register in effect.writes:
            if result is None:
                self.registers.pop(register, None)
            else:
                self.registers[register] = result

    def _store(self, access: Memory, value: Value | None) -> None:
        address = self._address(access)
        if address.is_constant:
            at = address.constant
            for word in [word for word in self.words if at - 8 < word < at + access.size]:
                del self.words[word]
            if access.size == 8 and value is not None:
                self.words[at] = value

    def _result(self, effect: Effect) -> Value | None:
        """What the first operand becomes, where that is followed."""
        name, operands = effect.name, effect.operands
        if not name or name in ("cmp", "test"):
            return None
        if name == "lea":
            assert effect.address is not None
            address = self._address(effect.address)
            return address if effect.bits == 64 else unknown("low", address)
        values = [self._value(operand, effect) for operand in operands]
        if name == "mov":
            is_whole = effect.bits == 64 or values[1].is_constant
            return values[1] if is_whole else unknown("low", values[1])
        if name == "rorx":
            return unknown("ror", values[1], values[2].constant) if effect.bits == 64 else None
        if name == "sub" and effect.bits == 64:
            return values[0].minus(values[1])
        if name in ("shr", "shl", "and") and values[1].is_constant:
            return self._masked(name, values[0], values[1].constant, effect.bits)
        if name == "xor":
            return unknown(f"xor{effect.bits}", values[0], values[1])
        return None

    def _masked(self, name: str, value: Value, operand: int, bits: int) -> Value | None:
        """SHR of 64 bits; AND and SHL of 32, whose result is zero-extended."""
        if name == "shr":
            return unknown("shr", value, operand) if bits == 64 else None
        if bits == 32:
            mask = operand & 0xFFFFFFFF
            before = possible_bits(value)
            if name == "and":
                return unknown("and", value, mask)
            if before is not None and before << operand < 1 << 32:
                return unknown("shl", value, operand)
        return None

    def _note_not_taken(self, condition: int) -> None:
        if self.compared is None:
            return
        name, left, right = self.compared
        if name == "cmp" and condition == JA and right.is_constant:
            self.bounds[left] = right.constant
        elif name == "test" and condition == JNE and right.is_constant:
            self.bounds[left] = ~right.constant & MASK64
        elif name == "cmp" and condition == JNE:
            self._note_equal(left, right)

    def _note_equal(self, left: Value, right: Value) -> None:
        for one, other in ((left, right), (right, left)):
            atom = one.atom
            if atom is None:
                continue
            if atom[0] == "tag" and other.is_constant and self._is_page_of(atom[1], other.constant):
                self.pages[atom[1]] = other.constant
            elif atom[0] == "jump_tag" and self._is_jump(atom[1], other):
                self.matched.add(atom[1])

    def _is_page_of(self, entry: Entry, page: int) -> bool:
        size = self.layout.tlb_entry[0]
        expected = (page >> 12 & (self.layout.tlb_entries - 1)) * size
        return entry.index.is_constant and entry.index.constant == expected

    def _is_jump(self, index: Value, tag: Value) -> bool:
        """Whether ``tag`` is a RIP XOR the jump key, and ``index`` what this RIP hashes to."""
        atom = tag.atom
        if atom is None or atom[0] != "xor64" or atom[2] != self.words.get(self._field("jump_key")):
            return False
        rip = atom[1]
        size, mask = self.layout.jump_entry[0], self.layout.jump_entries - 1
        if rip.is_constant and index == Value(((rip.constant ^ rip.constant >> 12) & mask) * size):
            return True
        folded = unknown("xor32", unknown("shr", rip, 12), rip)
        return index == unknown("shl", unknown("and", folded, mask), size.bit_length() - 1)

    def _field(self, name: str) -> int:
        return next(field.address for field in self.layout.fields if field.name == name)
