"""Which memory translated code may reach, given what is known there."""

from __future__ import annotations

from ringfence.api.translations import Layout, Site, Translation
from ringfence.inspection.effects import Memory
from ringfence.inspection.facts import Entry, State
from ringfence.inspection.values import MASK64, Value, possible_bits, unknown

PAGE_BYTES = 4096
MEMBERS = ("tag", "addend", "page")


class Rules:
    """Of one translation."""

    def __init__(self, layout: Layout, block: Translation) -> None:
        self.layout = layout
        self.block = block
        self.start, self.end = layout.context
        self.fields = {field.name: field.address for field in layout.fields}
        self.slots: dict[int, Site] = {site.slot: site for site in block.sites if site.slot}

    def address(self, memory: Memory, state: State) -> Value:
        value = Value(memory.disp & MASK64)
        if memory.index >= 0:
            value = value.plus(state.register(memory.index), memory.scale)
        if memory.base >= 0:
            value = state.register(memory.base).plus(value)
        return value

    def check(self, access: Memory, state: State) -> str:
        """Why an access is not allowed; nothing where it is."""
        address = self.address(access, state)
        if address.is_constant:
            at = address.constant
            if self.start <= at <= self.end - access.size:
                return self._check_field(at, access)
            if self.slot_field(at, access.size):
                return ""
        elif self.is_slot_list(address, access, state):
            return ""
        if self.member(address, access.size, state) is not None:
            return "an entry of the TLB or the jump cache is written" if access.is_write else ""
        return self._check_guest(address, access, state)

    def slot_field(self, address: int, size: int) -> tuple[int, str] | None:
        """Which slot of this translation an address is in, and which of its fields."""
        length, *offsets = self.layout.slot
        for slot in self.slots:
            at = address - slot
            if 0 <= at < length and at in offsets and size == (8 if offsets.index(at) < 3 else 4):
                return slot, (*MEMBERS, "is_listed", "credit")[offsets.index(at)]
        return None

    def is_slot_list(self, address: Value, access: Memory, state: State) -> bool:
        """The list of slots, at a place that is on it."""
        index = Value(0, address.terms)
        if address.constant != self.layout.slots or access.size != 4 or len(index.terms) != 1:
            return False
        ((atom, times),) = index.terms
        bound = state.bounds.get(unknown(*atom))
        return times == 4 and bound is not None and bound < self.layout.slot_limit

    def member(self, address: Value, size: int, state: State) -> tuple[str, Entry | Value] | None:
        """Which field of which TLB or jump-cache entry or slot an address is, for a whole field."""
        if size != 8 or len(address.terms) > 1:
            return None
        index = Value(0, address.terms)
        bits = possible_bits(index)
        if bits is None:
            return None
        if address.is_constant and (found := self.slot_field(address.constant, size)):
            slot, name = found
            return name, Entry("slot", self.block.view, self.slots[slot].is_write, Value(slot), state.epoch)
        length, *offsets = self.layout.tlb_entry
        for array in self.layout.tlbs:
            at = address.constant - array.address
            if _is_within(at, bits, self.layout.tlb_entries, length) and at % length in offsets:
                place = index.plus(Value(at - at % length))
                entry = Entry(array.name, array.view, array.is_write, place, state.epoch)
                return MEMBERS[offsets.index(at % length)], entry
        length, *offsets = self.layout.jump_entry
        at = address.constant - self.layout.jumps
        if _is_within(at, bits, self.layout.jump_entries, length) and at % length in offsets:
            return ("jump_tag", "host")[offsets.index(at % length)], index.plus(Value(at - at % length))
        return None

    def is_own_index(self, entry: Entry, address: Value) -> bool:
        """Whether this address's TLB entry can be this one: an empty one's tag belongs to another index."""
        if entry.kind == "slot":
            # an empty slot leads nowhere, whatever is compared with its tag
            return True
        length = self.layout.tlb_entry[0]
        mask = (self.layout.tlb_entries - 1) * length
        if address.is_constant and entry.index == Value((address.constant >> 12) * length & mask):
            return True
        shift = 12 - (length.bit_length() - 1)
        shifted = (unknown(name, address, shift) for name in ("ror64", "shr64"))
        return any(entry.index == unknown("and", value, mask) for value in shifted)

    def is_own_jump(self, index: Value, tag: Value, state: State) -> bool:
        """Whether ``tag`` is the jump key's and a RIP's, and ``index`` what this RIP hashes to."""
        atom = tag.atom
        if atom is None or atom[0] != "xor64" or atom[2] != state.words.get(self.fields["jump_key"]):
            return False
        shifted: Value = atom[1]
        length, mask = self.layout.jump_entry[0], self.layout.jump_entries - 1
        shift = mask.bit_length()
        if shifted.is_constant:
            rip = shifted.constant >> 16
            return index == Value(((rip ^ rip >> shift) & mask) * length)
        made = shifted.atom
        if made is None or made[0] != "shl64" or made[2] != 16:
            return False
        folded = unknown("xor32", unknown("shr64", made[1], shift), made[1])
        return index == unknown("shl", unknown("and", folded, mask), length.bit_length() - 1)

    def _check_field(self, address: int, access: Memory) -> str:
        if not access.is_write:
            return ""
        for field in self.layout.fields:
            if field.is_written and field.address <= address <= field.address + field.size - access.size:
                return ""
        return "a part of the context is written that translated code has no business with"

    def _check_guest(self, address: Value, access: Memory, state: State) -> str:
        for atom, times in address.terms:
            if atom[0] in ("addend", "page") and times == 1:
                return self._check_page(address, atom[0], atom[1], access, state)
        return "an access outside the context that no TLB entry was loaded for"

    def _check_page(self, address: Value, kind: str, entry: Entry, access: Memory, state: State) -> str:
        if entry.view != self.block.view:
            return "a TLB entry of another view"
        if access.is_write and not entry.is_write:
            return "a write by way of the TLB for reads"
        offset = address.minus(unknown(kind, entry))
        if entry in state.pages:
            if kind == "addend":
                offset = offset.minus(Value(state.pages[entry]))
            return _check_room(offset, 0, access)
        if kind == "addend":
            offset = offset.minus(unknown("tag", entry))
        for value, bound in state.bounds.items():
            distance = offset.minus(value)
            if distance.is_constant and distance.constant < PAGE_BYTES:
                return _check_room(distance, bound, access)
        return "an access by way of a TLB entry that was not compared with its address"


def _is_within(at: int, bits: int, entries: int, length: int) -> bool:
    """Whether ``at`` plus an index with these bits is in an array's entry, at the same place in each."""
    return at >= 0 and at + bits < entries * length and not bits % length


def _check_room(offset: Value, bound: int, access: Memory) -> str:
    if offset.is_constant and offset.constant + bound + access.size <= PAGE_BYTES:
        return ""
    return "an access that may run out of its page"
